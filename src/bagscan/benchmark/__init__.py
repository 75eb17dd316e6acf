"""The published tables, reproduced and gone beyond: cells that train, judge and can be taken up again."""
