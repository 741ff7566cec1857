"""``bin/springest`` over a real warehouse, source and sandbox: output, effects, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from demo import source_database
from demo.world import postgres_connection
from sandbox.faults import Fault, Kind
from springest.errors import SiteNotBegun
from springest_provider import factories
from springest_provider.cli.__main__ import main
from tests.factories import SECRET

ROOT = Path(__file__).parents[2]
assert factories  # Airflow is imported, and its logging set up, before the tests capture what is written
LATER = "UPDATE springest.delivery_attempt SET started_at = started_at - interval '1 hour'"


@pytest.fixture
def variables(monkeypatch):
    """Variables of an Airflow whose database is away: it is not what these tests are about."""
    values = {"springest_learner_secret": SECRET, "springest_highest_attempt": "0"}

    class Kept:
        @staticmethod
        def get(name, default=None):
            return values.get(name, default)

    monkeypatch.setattr("springest_provider.lookups.Variable", Kept)
    monkeypatch.setattr("springest_provider.lookups.WAITS_SECONDS", (0, 0))
    return values


@pytest.fixture
def cli(world, cli_of):
    """Run a command with the world's connections; gives the exit code and what it wrote."""
    return cli_of(world)


@pytest.fixture
def cli_of(variables, monkeypatch, capsys):
    """Make what runs commands with a world's connections."""
    checks = []

    def make(world):
        run, check = _runner(world, monkeypatch, capsys)
        checks.append(check)
        return run

    yield make
    for check in checks:
        check()


def _runner(world, monkeypatch, capsys):
    connections = {
        "certificate_warehouse": postgres_connection(world.warehouse_url),
        "training_source": {"conn_type": "sqlite", "host": world.source.url.database},
        "springest_default": {
            "conn_type": "springest",
            "host": world.sandbox.url,
            "password": world.sandbox.state.api_key,
            "extra": {
                "certifications_api_key": world.sandbox.state.certifications_api_key,
                "catalogue_lists_verified_only": True,
            },
        },
    }
    for name, values in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(values))
    monkeypatch.setenv("LOGNAME", "anna")
    printed = []

    def run(*arguments):
        capsys.readouterr()  # what the world itself wrote
        code = main(arguments)
        out, err = capsys.readouterr()
        printed.append(out + err)
        return code, out, err

    password = connections["certificate_warehouse"]["password"]
    return run, lambda: _holds_nothing_private(world, "\n".join(printed), password)


def _holds_nothing_private(world, output, password):
    """Every command of every test here: no key, no address, no password, no traceback."""
    state = world.sandbox.state
    for canary in (state.api_key, state.certifications_api_key, password, SECRET, "@example.com", "zoë"):
        assert canary not in output
    assert "Traceback" not in output


def doubt(world, kind=Kind.CLOSE_BEFORE_STORING, **changes):
    """A night in which one answer was lost, an hour ago."""
    training = world.training(**changes)
    world.complete(training)
    world.sandbox.state.faults.add(Fault(kind))
    world.catalogue()
    world.stage()
    world.deliver()
    with world.warehouse.begin() as connection:
        connection.execute(text(LATER))
        connection.execute(text("UPDATE springest.delivery SET sent_at = sent_at - interval '1 hour'"))
        connection.execute(
            text("UPDATE springest.certification SET listed_since = now() - interval '9 days'")
        )
    world.publish()
    return training.training_id


def test_an_engineer_finds_releases_and_sees_the_result(world, cli):
    """An engineer lists what needs a decision, releases it and sees the result the next morning."""
    name = doubt(world)
    code, out, _ = cli("review", "list")
    assert code == 0
    assert name in out
    assert "response_lost" in out
    code, out, _ = cli("review", "show", name)
    assert "no complete snapshot" in out
    code, _, err = cli("review", "release", name, "--why", "Springest's admin lacks it")
    assert (code, "trigger springest_reconcile first" in err) == (3, True)
    code, out, err = cli("review", "release", name, "--why", "Springest's admin lacks it", "--snapshot")
    assert (code, err) == (0, "")
    assert "snapshot 1: 0 certificates, complete" in out
    assert f"training {name}: release done, its state is ready" in out
    world.deliver("second")
    world.publish("second")
    code, out, _ = cli("who", name)
    assert code == 0
    assert "attempt 1" in out
    assert "attempt 2" in out
    assert "release by anna, unknown to ready: Springest's admin lacks it" in out
    assert cli("review", "list")[1] == "nothing waits for a person\n"


def test_a_shown_certificate_is_confirmed(world, cli):
    """A delivery whose certificate Springest shows can be confirmed."""
    name = doubt(world, Kind.CLOSE_AFTER_STORING)
    [certificate] = world.sandbox.store.certificates()
    world.snapshot()
    out = cli("review", "show", name)[1]
    assert f"Springest shows {certificate.id}, which may be this certificate" in out
    code, _, err = cli("review", "release", name, "--why", "x", "--without-evidence")
    assert (code, "may be this one" in err) == (3, True)
    code, out, _ = cli("review", "confirm", name, str(certificate.id), "--why", "seen in the admin", "--json")
    [report] = json.loads(out)
    assert (code, report["state"], report["refusal"]) == (0, "visible", None)
    world.publish()
    _, out, _ = cli("who", name, "--json")
    [story] = json.loads(out)
    assert (story["verification_status"], story["match_method"]) == ("inferred", "person")
    assert story["decisions"][0]["decided_by"] == "anna"


def test_a_wrong_decision_is_reopened(world, cli):
    """A cancelled delivery can be reopened."""
    name = doubt(world)
    assert cli("review", "cancel", name, "--why", "not ours", "--by", "bob")[0] == 0
    assert cli("review", "release", name, "--why", "x")[0] == 3
    assert cli("review", "reopen", name, "--why", "it is ours")[0] == 0
    assert world.states()[name] == ("review", "reopened")


def test_many_deliveries_are_only_listed_without_yes(world, cli):
    """A decision about many deliveries only lists them unless `--yes` is given."""
    names = [doubt(world, Kind.CLOSE_BEFORE_STORING) for _ in range(3)]
    code, out, err = cli("review", "cancel", "--reason", "response_lost", "--why", "a bad night")
    assert (code, "apply to these 3; nothing was done" in err) == (5, True)
    assert all(name in out for name in names)
    assert {state for state, _ in world.states().values()} == {"unknown"}
    code, out, _ = cli("review", "cancel", "--run", "night", "--why", "a bad night", "--yes")
    assert (code, "3 decided, 0 refused" in out) == (0, True)


def test_a_file_is_decided_row_by_row(world, cli, tmp_path):
    """Each row of a file is decided alone, and each refusal is reported."""
    first, second = doubt(world), doubt(world)
    path = tmp_path / "decided.csv"
    path.write_text(
        f"\ufefftraining_id;issue_no;why\r\n{first};1;asked Springest\r\nunheard;;\r\n{second};;\r\n",
        encoding="utf-8",
    )
    assert cli("review", "cancel", "--file", str(path), "--why", "the rest")[0] == 5
    code, out, err = cli("review", "cancel", "--file", str(path), "--why", "the rest", "--yes", "--json")
    reports = json.loads(out)
    assert code == 3
    assert [report["state"] for report in reports] == ["cancelled", None, "cancelled"]
    assert "there is no delivery of training unheard" in err
    why = world.rows("SELECT reason FROM springest.delivery_decision ORDER BY decision_id")
    assert [row[0] for row in why] == ["asked Springest", "the rest"]


@pytest.mark.parametrize(
    "encoded",
    [
        "\ufefftraining_id;why\r\n{id};zu spät\r\n;\r\n".encode(),
        b"training_id;why\r\n{id};zu sp\xe4t\r\n",
        "training_id\twhy\r\n{id}\tzu spät\r\n".encode("utf-16"),
        'sep=,\r\n"training_id","why"\r\n"{id}","zu spät"\r\n'.encode(),
    ],
    ids=["utf-8 with mark", "windows-1252", "unicode text", "sep line"],
)
def test_a_file_is_read_as_excel_saves_it(world, cli, tmp_path, encoded):
    """Each version of Excel saves a different kind of CSV."""
    name = doubt(world)
    path = tmp_path / "decided.csv"
    utf16 = encoded.startswith(b"\xff\xfe")
    wanted, found = (text.encode("utf-16-le") if utf16 else text.encode() for text in (name, "{id}"))
    path.write_bytes(encoded.replace(found, wanted))
    assert cli("review", "cancel", "--file", str(path), "--yes")[0] == 0
    assert world.rows("SELECT reason FROM springest.delivery_decision") == [("zu spät",)]


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (
            b"training_id\nT\xe41\n",
            'line 2: training_id has letters of an unknown encoding: save it as "CSV UTF-8"',
        ),
        (b"t\0r\0a\0i\0n\0", 'save it as "CSV UTF-8"'),
        (b"training_id\n\x81\n", 'save it as "CSV UTF-8"'),
        (b"PK\x03\x04\0\0", 'save it as "CSV UTF-8"'),
        (b"", "must begin with a header row of training_id"),
    ],
)
def test_an_unreadable_file_decides_nothing(cli, tmp_path, content, remedy):
    """The error names the remedy."""
    path = tmp_path / "decided.csv"
    path.write_bytes(content)
    code, _, err = cli("review", "cancel", "--file", str(path), "--why", "x", "--yes")
    assert (code, remedy in err) == (1, True), err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("T1,T2\n", "must begin with a header row of training_id"),
        ("training_id,sprngest_id\nT1,4\n", "must begin with a header row of training_id"),
        ("training_id,issue_no\nT1,x\n", "line 2: issue_no must be a whole number"),
        ("training_id,why\nT1,a,b\n", "line 2: has more or fewer fields"),
        ("training_id,why\nT1\n", "line 2: has more or fewer fields"),
        ("training_id,why\n ,a\n", "line 2: training_id is empty"),
    ],
)
def test_a_malformed_file_decides_nothing(cli, tmp_path, content, message):
    """The error names the line."""
    path = tmp_path / "decided.csv"
    path.write_text(content, encoding="utf-8")
    code, _, err = cli("review", "cancel", "--file", str(path), "--why", "x", "--yes")
    assert (code, message in err) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("review", "cancel", "--why", "x", "--yes"),
        ("review", "cancel", "T1", "--reason", "absent", "--why", "x"),
        ("review", "confirm", "--why", "x", "--yes"),
        ("review", "cancel", "--reason", "absent", "--version", "3", "--yes"),
    ],
)
def test_an_unclear_command_does_nothing(cli, arguments):
    """Above all, no filter at all does not mean everything."""
    assert cli(*arguments)[0] == 2


@pytest.mark.parametrize(
    "arguments", [("frobnicate",), ("review", "list", "--state", "sent"), ("review",), ()]
)
def test_an_unknown_command_exits_with_2(arguments, capsys):
    """An unknown command or option exits with status 2."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_an_anonymous_person_cannot_decide(world, cli, monkeypatch):
    """A login that several people share names nobody."""
    name = doubt(world)
    monkeypatch.setenv("LOGNAME", "airflow")
    code, _, err = cli("review", "cancel", name, "--why", "x")
    assert (code, "name yourself with --by" in err) == (1, True)
    monkeypatch.setenv("LOGNAME", "Admin")
    assert cli("review", "cancel", name, "--why", "x")[0] == 1
    code, _, err = cli("review", "cancel", name, "--why", "x", "--by", "root")
    assert (code, "several people share the login root" in err) == (3, True)
    assert cli("review", "cancel", name, "--why", "x", "--by", "zoë.1@example.com")[0] == 3
    assert cli("review", "cancel", name, "--by", "anna")[0] == 3
    key = f"key {world.sandbox.state.api_key}"
    assert cli("review", "cancel", name, "--by", "anna", "--why", key)[0] == 3
    assert world.states()[name][0] == "unknown"


def test_a_decision_on_a_changed_delivery_is_refused(world, cli):
    """A delivery that changed since it was listed cannot be decided."""
    name = doubt(world)
    code, _, err = cli("review", "cancel", name, "--why", "x", "--version", "1")
    assert (code, "has changed since you looked: it has been unknown" in err) == (3, True)


@pytest.mark.parametrize("command", ["who", "show"])
def test_an_unknown_training_is_reported(cli, command):
    """A training that is not in the ledger is an error that names it."""
    arguments = ("who", "T99") if command == "who" else ("review", "show", "T99")
    code, out, err = cli(*arguments)
    assert (code, out) == (4, "")
    assert "no delivery of training T99" in err


def test_the_status_shows_the_queue_and_when_it_will_be_empty(world, cli):
    """`status` shows how many certificates are left and when all will have been sent."""
    doubt(world)
    world.complete(*(world.training() for _ in range(3)))
    world.stage("second")
    world.snapshot()
    with world.warehouse.begin() as connection:
        connection.execute(text("UPDATE springest.rate_limit SET frozen_until = now() + interval '1 hour'"))
        # Questions about single learners are never the whole list; its own last snapshot stays complete.
        connection.execute(
            text(
                "INSERT INTO springest.snapshot (site, run_id, finished_at, scope, distinct_ids)"
                " VALUES ('default', 'second', now(), 'owners', 1)"
            )
        )
    code, out, _ = cli("status")
    assert code == 0
    assert "NOT complete" not in out
    for line in (
        "3 left, less than a minute at the site's pace",
        "3,800 requests an hour, 95% of the site's cap",
        "see `bin/springest review list`",
        "1 unknown",
        "1: see",
        "FROZEN until",
        "complete, 0 certificates",
    ):
        assert line in out
    _, out, _ = cli("status", "--json")
    status = json.loads(out)
    assert (status["ready"], status["states"]) == (3, {"ready": 3, "unknown": 1})
    assert [run["run_id"] for run in status["runs"]] == ["second", "night"]
    assert status["runs"][1]["unknown"] == 1
    assert status["attempts"] == {"in_ledger": 1, "kept_outside": 0, "ledger_is_behind": False}


def test_an_empty_warehouse_has_a_status(cli):
    """`status` works before the first run."""
    code, out, _ = cli("status")
    assert code == 0
    assert "queue" in out
    assert "never" in out


def test_a_restored_ledger_is_reported_and_recovered_once(world, cli, variables):
    """`status` reports that the ledger lost attempts; recovery works once."""
    world.complete(world.training(), world.training())
    world.catalogue()
    world.stage()
    assert cli("review", "restored", "--why", "disk", "--yes")[0] == 1
    variables["springest_highest_attempt"] = "41"
    assert "THE LEDGER IS BEHIND" in cli("status")[1]
    code, out, err = cli("review", "restored")
    assert (code, "2 of site default" in out, "nothing was done" in err) == (5, True, True)
    assert cli("review", "restored", "--yes")[0] == 1
    code, out, _ = cli("review", "restored", "--yes", "--why", "disk of the warehouse")
    assert (code, "2 deliveries are unknown now; new attempts start above 41" in out) == (0, True)
    assert "BEHIND" not in cli("status")[1]
    assert cli("review", "list", "--reason", "ledger_restored", "--json")[0] == 0
    number = world.rows("SELECT nextval(pg_get_serial_sequence('springest.delivery_attempt', 'attempt_id'))")
    assert number[0][0] == 42


def test_an_unreachable_warehouse_is_a_one_line_error(cli, monkeypatch):
    """A warehouse that cannot be reached is reported in one line, without a traceback."""
    gone = {
        "conn_type": "postgres",
        "host": "127.0.0.1",
        "port": 9,
        "login": "u",
        "password": "hidden-canary",
    }
    monkeypatch.setenv("AIRFLOW_CONN_CERTIFICATE_WAREHOUSE", json.dumps(gone))
    code, out, err = cli("status")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "hidden-canary" not in err


def test_a_templated_query_or_a_missing_key_is_an_error(world, cli, monkeypatch, tmp_path):
    """A query that only Airflow can render cannot check a release, and a connection without a key fails;
    `show` still works.
    """
    name = doubt(world)
    query = tmp_path / "query.sql"
    query.write_text("SELECT {{ var.value.columns }}", encoding="utf-8")
    code, _, err = cli("review", "release", name, "--why", "x", "--sql", str(query))
    assert (code, "only Airflow renders" in err) == (1, True)
    assert cli("review", "release", name, "--why", "x", "--sql", str(tmp_path / "none.sql"))[0] == 1
    code, out, _ = cli("review", "show", name, "--sql", str(query))
    assert (code, "only Airflow renders" in out) == (0, True)
    monkeypatch.setenv("AIRFLOW_CONN_SPRINGEST_DEFAULT", json.dumps({"conn_type": "springest", "host": "nl"}))
    assert cli("status")[0] == 1


def test_the_command_works_from_any_folder_and_by_a_link(world, cli, tmp_path):
    """As an operator calls it, in a process of its own."""
    doubt(world)
    link = tmp_path / "springest"
    link.symlink_to(ROOT / "bin" / "springest")
    done = subprocess.run(
        [str(link), "review", "list", "--json"],
        cwd=tmp_path,
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path / "airflow")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [record["state"] for record in json.loads(done.stdout)] == ["unknown"]
    _holds_nothing_private(world, done.stdout + done.stderr, SECRET)


def test_a_site_begins_on_a_persons_word(make_world, cli_of):
    """It is shown what would go out first, and nothing begins twice."""
    world = make_world(has_begun=False)
    cli = cli_of(world)
    world.complete(world.training(), world.training(), ago=timedelta(hours=1))
    world.catalogue()
    moment = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    assert "not begun" in cli("status")[1]
    code, out, err = cli("begin", "--from", moment)
    assert (code, "2 completed trainings" in out, "With --yes" in err) == (5, True, True)
    with pytest.raises(SiteNotBegun):
        world.stage()
    code, out, _ = cli("begin", "--from", moment, "--yes")
    assert (code, "site default has begun" in out) == (0, True)
    assert world.stage().rows == 2
    code, _, err = cli("begin", "--from", moment, "--yes")
    assert (code, "has begun already" in err) == (1, True)


@pytest.mark.parametrize("moment", ["2026-11-02T00:00:00", "soon"])
def test_a_beginning_without_a_time_zone_is_refused(cli, moment):
    """`begin --from` needs a time zone."""
    with pytest.raises(SystemExit, match="2"):
        cli("begin", "--from", moment)


def test_list_filters_find_rows_that_were_set_aside(world, cli):
    """A reason and a run are those of rows in any state; successful rows are not listed, and decisions apply
    only to what waits for one.
    """
    good, lost, refused = world.training(), world.training(), world.training(certification_id=105)
    world.complete(good, lost, refused)
    Path(lost.certificate_uri).unlink()
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=422, certification_id=105))
    world.catalogue()
    world.stage()
    world.deliver()
    world.publish()
    for arguments, names in (
        (("--reason", "document_missing"), {lost.training_id}),
        (("--reason", "rejected"), {refused.training_id}),
        (("--run", "night"), {lost.training_id, refused.training_id}),
        (("--run", "night", "--state", "accepted"), {good.training_id}),
    ):
        code, out, _ = cli("review", "list", "--json", *arguments)
        assert (code, {record["training_id"] for record in json.loads(out)}) == (0, names)
    assert cli("review", "list", "--reason", "rejected", "--run", "another")[0] == 4
    assert cli("review", "cancel", "--run", "night", "--why", "x")[0] == 4


def test_the_end_of_a_trial_is_shown_before_it_is_done(world, cli, monkeypatch):
    """It is refused in the trial's own warehouse."""
    doubt(world)
    monkeypatch.setenv("AIRFLOW_CONN_TRIAL", os.environ["AIRFLOW_CONN_CERTIFICATE_WAREHOUSE"])
    code, _, err = cli("end-trial", "--trial-warehouse", "trial")
    assert (code, "The trial's highest attempt is 1" in err) == (5, True), err
    code, _, err = cli("end-trial", "--trial-warehouse", "trial", "--yes", "--why", "it is over")
    assert (code, "has attempts of its own" in err) == (1, True)


def test_plan_says_what_would_be_sent_and_changes_nothing(cli, world, variables):
    """The night's, one training's, a window's; as text and for machines."""
    variables["springest_document_roots"] = json.dumps([str(world.folder)])
    good, bad = world.training(), world.training(certificate_uri="/etc/hostname")
    world.complete(good, bad)
    world.catalogue()
    code, out, err = cli("plan")
    assert (code, err) == (0, "")
    assert "nothing was changed, and nothing was sent" in out
    assert f"training {good.training_id}, certification 102\n" in out
    assert "  1 invalid, document_outside_roots: " in out
    assert f"    training {bad.training_id}, certification 102\n" in out
    code, out, _ = cli("plan", good.training_id, "nobody", "--json")
    report = json.loads(out)
    assert [row["training_id"] for row in report["to_send"]] == [good.training_id]
    assert (code, report["not_found"], report["rows"]) == (0, ["nobody"], 1)
    assert cli("plan", "nobody")[0] == 4
    now = datetime.now(UTC)
    window = ("--from", (now - timedelta(days=9)).isoformat(), "--to", (now - timedelta(days=8)).isoformat())
    assert json.loads(cli("plan", *window, "--json")[1])["rows"] == 0
    assert cli("plan", "--from", now.isoformat())[0] == 2
    assert cli("plan", good.training_id, *window)[0] == 2
    assert (world.posts, world.states()) == (0, {})


def _checks(cli, *arguments):
    code, out, err = cli("doctor", "--json", *arguments)
    assert err == ""
    report = json.loads(out)
    assert report["ok"] is (code == 0)
    return {check["name"]: (check["status"], check["detail"]) for check in report["checks"]}


OUTSIDE = {"pools", "DAGs"}
"""Checks of Airflow's database, which is away in these tests."""


def test_doctor_finds_a_whole_installation_well(cli, world, variables):
    """Even before the first run; checks that need Airflow's database report their own problem."""
    variables["springest_document_roots"] = json.dumps([str(world.folder)])
    world.complete(world.training())
    checks = _checks(cli)
    assert {name for name, (status, _) in checks.items() if status == "problem"} == OUTSIDE
    assert checks["warehouse roles"][0] in {"ok", "warning"}
    assert "1 rows in the last 30 days; training_id str, " in checks["source query"][1]
    assert "updated_at " in checks["source query"][1]
    assert checks["sample document"] == ("ok", "that of training T0001 can be sent (application/pdf)")
    assert "no learner reference yet" in checks["learner secret"][1]
    world.night()
    checks = _checks(cli)
    assert "fingerprint " in checks["learner secret"][1]
    code, out, _ = cli("doctor")
    assert (code, "OK       key for certificates: Springest accepts it\n" in out) == (1, True)
    assert world.posts == 1


def test_doctor_checks_each_source(cli, world, variables, monkeypatch, tmp_path):
    """And finds ids that two of them have; a command does not read one of them alone."""
    variables["springest_document_roots"] = json.dumps([str(world.folder)])
    second = create_engine(f"sqlite:///{tmp_path}/second.db")
    source_database.create_schema(second)
    shared, own = world.training(), world.training()
    world.complete(shared)
    source_database.add(second, [shared, own], now=datetime.now(UTC) - timedelta(seconds=5))
    second.dispose()
    (tmp_path / "sql").symlink_to(ROOT / "include" / "sql")
    listed = tmp_path / "sites.toml"
    query = 'query = "completed_trainings_sqlite.sql"'
    names = ("training_source", "lms2", "lms3")
    tables = [f'[[default.sources]]\nsource = "{name}"\n{query}\n' for name in names]
    listed.write_text("[default]\n" + "".join(tables))
    monkeypatch.setenv("AIRFLOW__SPRINGEST__SITES_FILE", str(listed))
    monkeypatch.setenv(
        "AIRFLOW_CONN_LMS2", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/second.db"})
    )
    checks = _checks(cli)
    assert "1 rows in the last 30 days" in checks["source query of training_source"][1]
    assert "2 rows in the last 30 days" in checks["source query of lms2"][1]
    assert checks["sample document of lms2"][0] == "ok"
    assert checks["source query of lms3"][0] == "problem"
    assert "connection lms3 is not defined" in checks["source query of lms3"][1]
    assert "source lms3: the connection lms3" in checks["ids of the sources"][1]
    listed.write_text("[default]\n" + "".join(tables[:2]))
    status, detail = _checks(cli)["ids of the sources"]
    assert (status, f"such as {shared.training_id}:" in detail) == ("problem", True)
    code, _, err = cli("plan", "--source", "lms2")
    assert (code, "this one has several" in err) == (1, True)
    world.catalogue()
    _, out, _ = cli("plan", "--json")
    report = json.loads(out)
    assert [row["training_id"] for row in report["to_send"]] == [own.training_id]
    assert [row["reason"] for row in report["set_aside"]] == ["training_id_in_several_sources"]


def test_doctor_shows_every_problem_at_once(cli, world, variables, monkeypatch):
    """A key, a query, a secret, a folder and a document that are wrong hide nothing of each other."""
    variables["springest_document_roots"] = json.dumps([str(world.folder)])
    world.complete(world.training())
    world.night()
    world.sandbox.state.api_key = "rotated"
    (world.folder / "T0001.pdf").write_bytes(b"no document")
    variables["springest_learner_secret"] = "another secret, which is long enough as well"
    variables["springest_document_roots"] = json.dumps([str(world.folder), "/nowhere/at/all"])
    checks = _checks(cli)
    problems = {name for name, (status, _) in checks.items() if status == "problem"} - OUTSIDE
    assert problems == {"key for certificates", "learner secret", "document roots"}
    assert "Check the host and this key" in checks["key for certificates"][1]
    assert "/nowhere/at/all is no folder on this machine" in checks["document roots"][1]
    assert checks["sample document"][0] == "warning"
    broken = world.folder / "broken.sql"
    broken.write_text(
        "SELECT training_id FROM completed_training WHERE updated_at >= :window_start AND 1 = :window_end"
    )
    checks = _checks(cli, "--sql", str(broken))
    assert checks["source query"][0] == "problem"
    assert checks["sample row"] == ("skipped", "there is no sample row")
    monkeypatch.setenv("AIRFLOW_CONN_CERTIFICATE_WAREHOUSE", "postgresql://localhost:1/nothing")
    checks = _checks(cli)
    assert checks["warehouse"][0] == "problem"
    assert checks["warehouse roles"][0] == "skipped"
    assert checks["key for certifications"][0] == "ok"
    monkeypatch.delenv("AIRFLOW_CONN_SPRINGEST_DEFAULT")
    checks = _checks(cli)
    assert "is not defined in Airflow" in checks["connection of Springest"][1]
    assert "needs the Springest connection" in checks["key for certificates"][1]
    assert checks["Variables"][0] == "ok"
