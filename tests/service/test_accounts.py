import pytest
from sqlalchemy import select

from bagscan.service import accounts
from bagscan.service.accounts import AccountError, LogInError
from bagscan.service.store import tables
from tests.service.conftest import PASSWORD, PASSWORD_HASH


def try_in(house, password, name="operator"):
    return house.anyone().post("/v1/sessions", json={"name": name, "password": password})


def test_ten_wrong_tries_lock_and_an_admin_unlocks(house):
    assert [try_in(house, "wrong").status_code for _ in range(9)] == [401] * 9
    assert (
        try_in(house, PASSWORD).status_code == 201
    )  # the ninth was not the tenth; the count starts again
    for _ in range(10):
        try_in(house, "wrong")
    locked = try_in(house, PASSWORD)
    assert locked.status_code == 401
    assert "locked for 15 more minutes" in locked.json()["detail"]
    assert try_in(house, PASSWORD, "second").status_code == 201  # other accounts are not locked
    people = house.person("admin")
    number = next(
        one["id"]
        for one in people.get("/v1/accounts").json()["accounts"]
        if one["name"] == "operator"
    )
    people.patch(f"/v1/accounts/{number}", json={"unlock": True})
    assert try_in(house, PASSWORD).status_code == 201


def test_a_name_that_is_not_known_is_refused_like_a_wrong_password(house):
    assert try_in(house, "x", "nobody").json()["detail"] == try_in(house, "x").json()["detail"]


def test_passwords_tokens_and_keys_are_kept_as_hashes_alone(house):
    key = house.machine().headers["Authorization"].split()[1]
    token = next(iter(house.person("operator").cookies.values()))
    with house.service.store.read() as connection:
        kept = str(
            [
                connection.execute(select(table)).all()
                for table in (
                    tables.accounts,
                    tables.sessions,
                    tables.api_keys,
                    tables.setup_tokens,
                    tables.audit,
                )
            ]
        )
    assert "$argon2id$" in kept
    assert not [secret for secret in (PASSWORD, key, token) if secret in kept]


def test_the_one_time_link_works_once(make_house, tmp_path):
    house = make_house(start=False)
    service = house.service
    assert (
        service.store.write(lambda c: accounts.offer_setup(c, service.clock.now())) is None
    )  # an admin exists
    service.store.write(
        lambda c: c.execute(
            tables.accounts.update()
            .where(tables.accounts.c.name == "admin")
            .values(role="operator")
        )
    )
    token = service.store.write(lambda c: accounts.offer_setup(c, service.clock.now()))
    made = house.anyone().post(
        "/v1/setup", json={"token": token, "name": "first", "password": "long enough"}
    )
    assert made.status_code == 201
    assert made.json()["role"] == "admin"
    assert (
        house.anyone()
        .post("/v1/setup", json={"token": token, "name": "other", "password": "long enough"})
        .status_code
        == 401
    )
    assert (
        house.anyone()
        .post("/v1/setup", json={"token": "guess", "name": "other", "password": "long enough"})
        .status_code
        == 401
    )


def test_the_last_admin_stays(house):
    admin = house.person("admin")
    number = house.ids["admin"]
    for change in ({"disabled": True}, {"role": "operator"}):
        answer = admin.patch(f"/v1/accounts/{number}", json=change)
        assert answer.status_code == 422
        assert "last admin" in answer.json()["detail"]
    assert house.person("admin").get("/v1/accounts").status_code == 200


@pytest.mark.parametrize(
    ("name", "role", "why"),
    [
        ("", "operator", "account name"),
        ("a b", "operator", "account name"),
        ("../x", "operator", "account name"),
        ("x", "king", "king"),
        ("operator", "operator", "taken"),
    ],
)
def test_accounts_that_cannot_be(house, name, role, why):
    service = house.service
    with pytest.raises(AccountError, match=why):
        service.store.write(
            lambda c: accounts.create_account(c, service.auditor, "test", name, role, PASSWORD_HASH)
        )


def test_short_passwords_are_refused(house):
    with pytest.raises(AccountError, match="10 to 256"):
        accounts.hash_password("short")
    assert (
        house.person("admin")
        .post("/v1/accounts", json={"name": "x", "role": "operator", "password": "short"})
        .status_code
        == 422
    )


def test_a_changed_password_ends_sessions(house):
    client, other = house.person("operator"), house.person("operator")
    assert (
        client.put("/v1/me/password", json={"old": "wrong", "new": "another long one"}).status_code
        == 401
    )
    assert (
        client.put("/v1/me/password", json={"old": PASSWORD, "new": "another long one"}).status_code
        == 200
    )
    assert other.get("/v1/queue").status_code == 401
    assert try_in(house, PASSWORD).status_code == 401
    assert try_in(house, "another long one").status_code == 201


def test_a_revoked_key_is_worthless_at_once(house):
    admin, machine = house.person("admin"), house.machine()
    key = next(
        one for one in admin.get("/v1/accounts").json()["accounts"] if one["name"] == "scanner"
    )["keys"][0]
    assert machine.get("/v1/me").json()["name"] == "scanner"
    assert admin.delete(f"/v1/keys/{key['id']}").status_code == 200
    assert machine.get("/v1/me").status_code == 401
    assert admin.delete(f"/v1/keys/{key['id']}").status_code == 422


def test_an_account_without_password_cannot_log_in(house):
    service = house.service
    service.store.write(
        lambda c: accounts.create_account(c, service.auditor, "test", "robot", "scanner", None)
    )
    with pytest.raises(LogInError):
        accounts.log_in(
            service.store, service.auditor, service.config, "robot", "", service.clock.now()
        )
