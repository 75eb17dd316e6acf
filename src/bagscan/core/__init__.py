"""Types shared by all packages. They depend on numpy only and are validated on construction."""

from bagscan.core.annotation import Annotation
from bagscan.core.findings import Decision, Finding, OperatingPoint, Report
from bagscan.core.reasons import Reason, ReasonCode
from bagscan.core.regions import Regions
from bagscan.core.run_lengths import RunLengths
from bagscan.core.scan import QUANTITIES, Scan, View

__all__ = [
    "QUANTITIES",
    "Annotation",
    "Decision",
    "Finding",
    "OperatingPoint",
    "Reason",
    "ReasonCode",
    "Regions",
    "Report",
    "RunLengths",
    "Scan",
    "View",
]
