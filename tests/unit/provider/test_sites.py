"""The list of sites: what it takes, what it refuses by name, and that one entry's error stays its own."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from springest.errors import ConfigurationError
from springest_provider import factories
from springest_provider.defaults import dag_of, source_of
from springest_provider.site_settings import source_name
from springest_provider.sites import load_sites

FULL = """
[uk]
connection = "uk_account"
source = "uk_database"
query = "by_country.sql"
filter = { country = "GB", cohort = 7 }
document_roots = ["/data/uk", "s3://certificates/uk"]
schedule.deliver = "0 2 * * *"
time_zone = "Europe/London"
deliver_until = "16:30"
deadline_hours.deliver = 15
tags = ["pilot"]
owners = ["uk-team", "platform"]
pool = "springest_uk"
queue = "uk"
"""


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """Write the list and return it as it is read."""
    (tmp_path / "sql").mkdir()
    for name in ("completed_trainings.sql", "completed_trainings_drop.sql", "by_country.sql"):
        (tmp_path / "sql" / name).touch()
    path = tmp_path / "sites.toml"
    monkeypatch.setenv("AIRFLOW__SPRINGEST__SITES_FILE", str(path))
    written = []

    def write(content):
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        written.append(content)
        os.utime(path, ns=(0, len(written)))  # a file that changed, however fast this is
        return load_sites()

    return write


def test_without_a_list_there_is_the_default_site():
    """As before there was one; the file is not part of the project."""
    found = load_sites()
    assert not found.path.exists()
    [site] = found.sites.values()
    assert (site.name, site.connection, found.problems) == ("default", "springest_default", {})
    assert source_of(site) == {
        "sql": "completed_trainings.sql",
        "source_conn_id": "training_source",
        "parameters": {},
    }
    assert dag_of(site, "springest_deliver")["dag_id"] == "springest_deliver"


def test_every_setting_reaches_the_dags(listed):
    """Pool, queue and owner, too, without editing a DAG file."""
    found = listed(FULL)
    assert found.problems == {}
    assert list(found.sites) == ["default", "uk"]
    site = found.find("uk")
    arguments = dag_of(site, "springest_deliver")
    assert arguments["dag_id"] == "springest_deliver_uk"
    assert arguments["tags"] == ["springest", "uk", "pilot"]
    given = {
        name: arguments["default_args"][name] for name in ("pool", "queue", "owner", "springest_conn_id")
    }
    assert given == {
        "pool": "springest_uk",
        "queue": "uk",
        "owner": "uk-team, platform",
        "springest_conn_id": "uk_account",
    }
    assert "executor" not in arguments["default_args"]
    assert source_of(site)["parameters"] == {"country": "GB", "cohort": 7}
    assert (site.schedule.deliver, site.schedule.review) == ("0 2 * * *", "0 7 * * *")
    assert found.name_of("uk_account") == "uk"
    assert found.name_of("springest_elsewhere") == "elsewhere"


def test_a_drop_has_its_own_query_and_look_back(listed):
    """Exports arrive later than rows change; a setting replaces each."""
    found = listed('[uk]\nsource = "s3://aws@exports/uk"\n[nl]\nsource = "/data/drop"\nlook_back_days = 3\n')
    assert found.problems == {}
    uk, nl = found.find("uk"), found.find("nl")
    assert source_of(uk)["sql"] == "completed_trainings_drop.sql"
    assert (uk.look_back, nl.look_back) == (timedelta(days=31), timedelta(days=3))
    assert found.find("default").look_back == timedelta(days=1)


SEVERAL = """
[default]
[[default.sources]]
source = "moodle"
[[default.sources]]
source = "s3://aws@exports/lms2"
filter = { country = "GB" }
[[default.sources]]
source = "legacy"
query = "by_country.sql"
"""


def test_a_site_may_have_several_sources(listed):
    """Each has the defaults of its kind; the operators get lists in the order of the file."""
    found = listed(SEVERAL)
    assert found.problems == {}
    site = found.find("default")
    assert source_of(site) == {
        "sql": ["completed_trainings.sql", "completed_trainings_drop.sql", "by_country.sql"],
        "source_conn_id": ["moodle", "s3://aws@exports/lms2", "legacy"],
        "parameters": [{}, {"country": "GB"}, {}],
    }
    assert [source_name(item.source) for item in site.all_sources] == [
        "moodle",
        "s3://exports/lms2",
        "legacy",
    ]
    assert site.look_back == timedelta(days=31)
    assert listed("[[default.sources]]\nsource = 'a'\n").find("default").look_back == timedelta(days=1)


@pytest.mark.parametrize(
    ("added", "error"),
    [
        (
            "[[default.sources]]\nsource = 'legacy'\nquery = 'completed_trainings.sql'",
            "legacy is listed twice",
        ),
        ("[[default.sources]]\nsource = 's3://other@exports/lms2'", "s3://exports/lms2 is listed twice"),
        ("[[default.sources]]\nquery = 'by_country.sql'", "sources.3.source: is missing: must be the id"),
        (
            "[[default.sources]]\nsource = 'x'\nqueri = 1",
            "sources.3.queri: unknown setting: did you mean query?",
        ),
        ("[[default.sources]]\nsource = 'x'\nquery = 'no.sql'", "sources.3.query: there is no such file"),
        ("[[default.sources]]\nsource = 'two words'", "sources.3.source: must be the id of a connection"),
        ("[uk]\nsource = 'moodle'", "reads the same rows as [default]"),
        ("[uk]\n[[uk.sources]]\nsource = 'y'\n[[uk.sources]]\nsource = 'moodle'", "reads the same rows as"),
        (
            "[uk]\nsource = 'x'\n[[uk.sources]]\nsource = 'y'",
            "sources: move source into one of [[uk.sources]]",
        ),
        ("[uk]\nsources = []", "sources: must be tables such as [[default.sources]]"),
        ("[uk]\nsources = 'y'", "sources: must be tables such as [[default.sources]]"),
        ("[uk]\nsources = ['y']", "sources.0: must be tables such as [[default.sources]]"),
    ],
)
def test_sources_that_are_not_usable_are_refused_by_name(listed, added, error):
    """With the remedy; a source that is listed twice would make every training one of two sources."""
    [problem] = listed(SEVERAL + added).problems.values()
    assert error in problem


@pytest.mark.parametrize(
    "source", ['"drop/uk"', '"https://host/drop"', '"ftp://host/drop"', '"/"', "1", '"two words"']
)
def test_a_source_is_a_connection_or_a_drop(listed, source):
    """A folder is absolute, as a document root is."""
    found = listed(f"[uk]\nsource = {source}\n")
    assert "source: " in found.problems["uk"]


def test_a_sites_own_roots_replace_the_variable(listed, monkeypatch):
    """For this site alone; an entry that is not usable does not fall back to the Variable's roots."""
    monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_DOCUMENT_ROOTS", '["/data/all"]')
    listed(FULL)
    where, roots = factories.document_roots("uk")
    assert roots == ["/data/uk", "s3://certificates/uk"]
    assert "[uk]" in where
    assert factories.document_roots("default") == (
        "the Variable springest_document_roots",
        ["/data/all"],
    )
    listed(FULL + "pol = 3\n")
    with pytest.raises(ConfigurationError, match="pol"):
        factories.document_roots("uk")


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ("pol = 3", "pol: unknown setting: did you mean pool?"),
        ("zzz = 3", "zzz: unknown setting: known are connection, source, query"),
        ("schedule.delivr = '0 1 * * *'", "schedule.delivr: unknown setting: did you mean deliver?"),
        ("name = 'x'", "name: remove it"),
        ("pool = 3", "pool: must be text in quotes"),
        ("pool = ''", "pool: must be text in quotes"),
        ("tags = 'uk'", "tags: must be a list of short texts"),
        ("owners = ['']", "owners.0: must be a list of short texts"),
        ("tags = ['" + "x" * 101 + "']", "tags.0: must be a list of short texts"),
        ("shares_rows = 1", "shares_rows: must be true or false"),
        ("schedule.deliver = '0 25 * * *'", "schedule.deliver: must be a cron expression"),
        ("schedule.deliver = '0 1 * * * *'", "schedule.deliver: must be a cron expression"),
        ("schedule.review = 7", "schedule.review: must be cron expressions in quotes"),
        ("time_zone = 'Europe/Londn'", "time_zone: must be a time zone"),
        ("time_zone = '../etc/passwd'", "time_zone: must be a time zone"),
        ("deliver_until = 06:00:00", "deliver_until: must be a time of day"),
        ("deliver_until = '24:00'", "deliver_until: must be a time of day"),
        ("deadline_hours.deliver = 0", "deadline_hours.deliver: must be whole numbers of hours"),
        ("query = 'none.sql'", "query: there is no such file"),
        ("query = '../sites.toml'", "query: must be the name of a .sql file"),
        ("query = 'SELECT 1'", "query: must be the name of a .sql file"),
        ("filter = { window_start = 'x' }", "filter.window_start: is a parameter that the project sets"),
        ("filter = { a = 1.5 }", "filter.a: must be parameters of the query"),
        ("filter = { a = true }", "filter.a: must be parameters of the query"),
        ("filter = { 'a b' = 1 }", "filter.a b: must be parameters of the query"),
        ("document_roots = []", "document_roots: must be a list of folders"),
        ("document_roots = ['/']", "document_roots.0: the document roots"),
        ("document_roots = ['data']", "document_roots.0: the document roots"),
        ("executor = 'NoSuchExecutor'", "executor: must be an executor"),
        ("connection = 'a b'", "connection: must be the id of a connection"),
        ("connection = 'springest_default'", "connection: [default] has the same"),
        ("source = 'training_source'", "reads the same rows as [default]"),
        ("pool = 'x", "not valid TOML"),
    ],
)
def test_a_wrong_setting_is_refused_by_name_and_line(listed, entry, error):
    """The other sites stay, whatever it is."""
    found = listed(
        f"[fr]\nsource = 'fr'\n\n[uk]\n{'' if 'source' in entry else 'source = 2'}\n{entry}\n".replace(
            "source = 2", "source = 'uk'"
        )
    )
    assert list(found.sites) == ["default", "fr"]
    [(name, problem)] = found.problems.items()
    assert name == "uk"
    assert f"{found.path}, line 4, [uk]: {error}" in problem
    with pytest.raises(ConfigurationError, match="line 4"):
        found.require_usable()
    with pytest.raises(ConfigurationError, match="line 4"):
        found.find("uk")


@pytest.mark.parametrize("name", ["UK", "u-k", "1uk", '"u k"', '"u.k"', "u" * 61, '"ü"'])
def test_a_name_must_fit_the_ids_that_are_made_of_it(listed, name):
    """DAG ids, Variables and names of environment variables."""
    found = listed(f"[{name}]\nsource = 'uk'\n[fr]\nsource = 'fr'\n")
    assert list(found.sites) == ["default", "fr"]
    assert "rename it" in "".join(found.problems.values())


@pytest.mark.parametrize(
    ("content", "usable", "error"),
    [
        (
            "[uk]\nsource='a'\n[uk]\nsource='b'\n[fr]\nsource='c'\n",
            ["default", "uk", "fr"],
            "line 3, [uk]: there is a site",
        ),
        ("pool = 'x'\n[fr]\nsource='c'\n", ["default", "fr"], "line 1: pool: put settings below their site"),
        ("[[uk]]\nsource='a'\n[fr]\nsource='c'\n", ["default", "fr"], "write [uk] in single brackets"),
        ("[uk\nsource='a'\n[fr]\nsource='c'\n", ["default", "fr"], "line 1, [uk]: not valid TOML"),
        (
            b"[uk]\npool = '\xff'\n[fr]\nsource='c'\n",
            ["default", "fr"],
            "line 1, [uk]: not valid TOML in UTF-8",
        ),
        ("[default]\npol = 1\n[fr]\nsource='c'\n", ["fr"], "[default]: pol: unknown setting"),
        ("[fr]\nsource='c'\n[de]\nsource='c'\n", ["default", "fr"], "[de]: reads the same rows as [fr]"),
        ("[default]\npol = 1\n[fr]\n", [], "[fr]: reads the same rows as [default]"),
        ("[default]\npol = '\n[fr]\n", [], "[fr]: reads the same rows as [default]"),
    ],
)
def test_an_entry_that_is_not_usable_changes_no_other(listed, content, usable, error):
    """Its rows do not go to another site meanwhile either."""
    found = listed(content)
    assert list(found.sites) == usable
    assert error in "\n".join(found.problems.values())


def test_sites_with_one_query_differ_or_say_that_they_share(listed):
    """Otherwise staging would set the second site's trainings aside, night after night."""
    filtered = "[fr]\nfilter={country='FR'}\n[de]\nfilter={country='DE'}\n"
    assert listed(filtered).problems == {}
    assert listed("[fr]\nshares_rows = true\n").problems == {}


def test_a_list_may_have_a_byte_order_mark_and_subtables(listed):
    """As Windows' editors write it, and as TOML may be written."""
    found = listed(b"\xef\xbb\xbf# Sites\r\n[uk]\r\nsource='uk'\r\n[uk.schedule]\r\ndeliver='5 2 * * *'\r\n")
    assert found.problems == {}
    assert found.find("uk").schedule.deliver == "5 2 * * *"


def test_an_unknown_site_is_refused_with_those_that_there_are(listed):
    """A mistyped name must not be a site of its own."""
    found = listed(FULL)
    with pytest.raises(ConfigurationError, match="did you mean uk"):
        found.find("ukk")
    with pytest.raises(ConfigurationError, match="there are default, uk"):
        found.find("elsewhere")


def test_a_file_that_was_named_must_be_there(tmp_path, monkeypatch):
    """Without it every site but the default one would be gone, silently."""
    monkeypatch.setenv("AIRFLOW__SPRINGEST__SITES_FILE", str(tmp_path / "none.toml"))
    with pytest.raises(ConfigurationError, match="sites_file names"):
        load_sites()
    monkeypatch.setenv("AIRFLOW__SPRINGEST__SITES_FILE", str(tmp_path))
    with pytest.raises(ConfigurationError, match="can't be read"):
        load_sites()
