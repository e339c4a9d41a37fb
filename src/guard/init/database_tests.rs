use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::guard::testing::until;

/// Stand-ins for PostgreSQL's programs: shell scripts.
fn programs(dir: &Path, initdb: &str, postgres: &str) -> Programs {
    let script = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.into_os_string()
    };
    Programs { initdb: script("initdb", initdb), postgres: script("postgres", postgres) }
}

const INITDB: &str = "mkdir -p \"$2/global\" && echo 15 > \"$2/PG_VERSION\" && \
                      printf '\\001\\000\\000\\000\\000\\000\\000\\200rest' > \"$2/global/pg_control\"";
const POSTGRES: &str = "if [ \"$1\" = --version ]; then echo 'postgres (PostgreSQL) 15.18'; exit; fi; cat > \"$3/fed\"; echo ' 1: owner = \"alice_tm\" (typeid = 19)'";

/// Identifier of the database that [`INITDB`] creates.
const MADE: SystemIdentifier = SystemIdentifier(1 << 63 | 1);

fn args(root: &Path) -> Args {
    Args {
        pgdata: root.join("pgdata"),
        role: "alice_tm".into(),
        database: "alice_data".into(),
        accounts: root.join("passwd"),
        report: termination_message::To { termination_log: root.join("termination-log") },
        only: Only::default(),
    }
}

/// Writes the accounts file of a pod for which the operator expects this database.
fn expect(root: &Path, expected: SystemIdentifier) {
    let comment = crate::protocol::database::comment(Some(expected));
    fs::write(root.join("passwd"), format!("postgres:x:65532:65532:{comment}:/data:/bin/false\n")).unwrap();
}

/// Runs the command. Returns its error and its report.
async fn outcome(root: &Path, programs: &Programs) -> (Option<String>, Option<Report>) {
    let log = root.join("termination-log");
    fs::write(&log, "").unwrap();
    let error = run(&args(root), programs).await.err().map(|error| format!("{error:#}"));
    (error, Report::read(&fs::read_to_string(&log).unwrap()))
}

fn found(verdict: Verdict, major: u32, image: u32) -> Option<Report> {
    let versions = Report { major_version: Some(major), ..Report::new(verdict, Some(MADE)) };
    Some(Report { image_major_version: Some(image), ..versions })
}

#[tokio::test]
async fn the_operator_is_told_which_database_was_made_and_which_was_there() {
    let root = tempfile::tempdir().unwrap();
    for initdb in [INITDB, "exit 1"] {
        let told = outcome(root.path(), &programs(root.path(), initdb, POSTGRES)).await;
        assert_eq!(told, (None, found(Verdict::InUse, 15, 15)), "{initdb}");
    }
    expect(root.path(), MADE);
    let told = outcome(root.path(), &programs(root.path(), "exit 1", POSTGRES)).await;
    assert_eq!(told, (None, found(Verdict::InUse, 15, 15)), "it is the expected database");
}

#[tokio::test]
async fn an_empty_volume_in_place_of_a_database_is_refused_and_nothing_is_made() {
    let root = tempfile::tempdir().unwrap();
    expect(root.path(), MADE);
    let (error, told) = outcome(root.path(), &programs(root.path(), INITDB, POSTGRES)).await;
    let error = error.unwrap();
    assert!(error.contains("it is empty") && error.contains(&MADE.to_string()), "{error}");
    assert_eq!(told, Some(Report::new(Verdict::Replaced, None)));
    assert!(!root.path().join("pgdata").exists() && !root.path().join("pgdata.new").exists());
}

#[tokio::test]
async fn a_foreign_database_is_refused_and_both_identifiers_are_named() {
    let root = tempfile::tempdir().unwrap();
    let programs = programs(root.path(), INITDB, POSTGRES);
    run(&args(root.path()), &programs).await.unwrap();
    expect(root.path(), SystemIdentifier(77));
    let (error, told) = outcome(root.path(), &programs).await;
    let error = error.unwrap();
    assert!(error.contains(&format!("{MADE}, and 77 is expected")), "{error}");
    assert_eq!(told, found(Verdict::Replaced, 15, 15));
}

#[tokio::test]
async fn an_image_of_another_major_version_is_refused_before_it_starts() {
    let root = tempfile::tempdir().unwrap();
    run(&args(root.path()), &programs(root.path(), INITDB, POSTGRES)).await.unwrap();
    let newer = programs(root.path(), INITDB, &POSTGRES.replace("15.18", "16.2"));
    let (error, told) = outcome(root.path(), &newer).await;
    let error = error.unwrap();
    assert!(error.contains("PostgreSQL 15 made it") && error.contains("PostgreSQL 16"), "{error}");
    assert_eq!(told, found(Verdict::OtherMajor, 15, 16));
}

#[tokio::test]
async fn an_expectation_that_cannot_be_read_is_an_error_and_no_permission() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("passwd"), "postgres:x:1:1:system-identifier=:/:/bin/false\n").unwrap();
    let (error, told) = outcome(root.path(), &programs(root.path(), INITDB, POSTGRES)).await;
    assert!(error.unwrap().contains("--accounts"));
    assert_eq!(told, None);
    assert!(!root.path().join("pgdata").exists());
}

async fn told(root: &Path, initdb: &str, postgres: &str) -> String {
    let error = run(&args(root), &programs(root, initdb, postgres)).await.unwrap_err();
    assert!(!root.join("pgdata").exists(), "all or nothing");
    format!("{error:#}")
}

#[tokio::test]
async fn role_and_database_are_made_in_order_and_a_second_run_starts_nothing() {
    let root = tempfile::tempdir().unwrap();
    run(&args(root.path()), &programs(root.path(), INITDB, POSTGRES)).await.unwrap();
    let fed = fs::read_to_string(root.path().join("pgdata/fed")).unwrap();
    let lines: Vec<&str> = fed.lines().collect();
    assert_eq!(
        lines[..2],
        ["CREATE ROLE \"alice_tm\" LOGIN", "CREATE DATABASE \"alice_data\" OWNER \"alice_tm\""]
    );
    for database in ["postgres", "template1", "\"alice_data\""] {
        assert!(lines.contains(&format!("REVOKE CONNECT ON DATABASE {database} FROM PUBLIC").as_str()));
    }
    assert!(!root.path().join("pgdata.new").exists());
    run(&args(root.path()), &programs(root.path(), "exit 1", POSTGRES)).await.unwrap();
    assert_eq!(fs::read_to_string(root.path().join("pgdata/fed")).unwrap(), fed);
}

#[tokio::test]
async fn an_error_that_single_user_mode_survives_is_a_failure() {
    let root = tempfile::tempdir().unwrap();
    for word in
        ["ERROR:  role exists", "2026-01-01 00:00:00 UTC [7] FATAL:  out of disk", "PANIC:  torn page"]
    {
        let error = told(root.path(), INITDB, &format!("{POSTGRES}; echo '{word}' >&2")).await;
        assert!(error.contains("reported an error"), "{word}: {error}");
    }
    let error = told(root.path(), INITDB, "cat > /dev/null").await;
    assert!(error.contains("did not say that alice_tm owns alice_data"), "{error}");
    assert!(told(root.path(), INITDB, &format!("{POSTGRES}; exit 3")).await.contains("failed"));
    assert!(told(root.path(), "exit 1", POSTGRES).await.contains("initdb failed"));
}

#[tokio::test]
async fn a_crash_before_the_rename_leaves_nothing_and_the_next_run_starts_over() {
    let root = tempfile::tempdir().unwrap();
    // Blocks forever when only the rename is left; aborting the task stands for a crash.
    let held = programs(root.path(), INITDB, &format!("{POSTGRES}; exec sleep 1000"));
    let args_held = args(root.path());
    let crashed = tokio::spawn(async move { run(&args_held, &held).await });
    let fed = root.path().join("pgdata.new/fed");
    until(async || fs::read_to_string(&fed).unwrap_or_default().contains("SELECT"), |fed| *fed).await;
    crashed.abort();
    assert!(crashed.await.unwrap_err().is_cancelled());
    assert!(!root.path().join("pgdata").exists());
    assert!(root.path().join("pgdata.new/PG_VERSION").exists());

    fs::write(root.path().join("pgdata.new/torn"), "").unwrap();
    run(&args(root.path()), &programs(root.path(), INITDB, POSTGRES)).await.unwrap();
    assert!(root.path().join("pgdata/PG_VERSION").exists() && !root.path().join("pgdata/torn").exists());
    assert!(!root.path().join("pgdata.new").exists());
}

#[tokio::test]
async fn what_is_no_data_directory_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let pgdata = root.path().join("pgdata");
    fs::create_dir(&pgdata).unwrap();
    fs::write(pgdata.join("diary"), "dear").unwrap();
    let error =
        run(&args(root.path()), &programs(root.path(), INITDB, POSTGRES)).await.unwrap_err().to_string();
    assert!(error.contains("holds files and no PG_VERSION"), "{error}");
    fs::remove_file(pgdata.join("diary")).unwrap();
    run(&args(root.path()), &programs(root.path(), INITDB, POSTGRES)).await.unwrap();
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let root = tempfile::tempdir().unwrap();
    let missing = Programs { initdb: "/nowhere/initdb".into(), ..Programs::default() };
    let error = format!("{:#}", run(&args(root.path()), &missing).await.unwrap_err());
    assert!(error.contains("/nowhere/initdb") && error.contains("PATH"), "{error}");
}

#[test]
fn names_that_need_quoting_or_are_taken_are_refused() {
    for good in ["tessera", "_x", "a1_b", &"a".repeat(63)] {
        assert_eq!(name(good).as_deref(), Ok(good));
    }
    for bad in ["", "1a", "Tessera", "a-b", "a b", "a\"b", "a\nb", "é", &"a".repeat(64)] {
        assert!(name(bad).unwrap_err().contains("write ^[a-z_]"), "{bad}");
    }
    for taken in ["postgres", "template0", "template1", "public", "none", "pg_monitor"] {
        assert!(name(taken).unwrap_err().contains("reserves that name"), "{taken}");
    }
}

/// The real programs of PostgreSQL. They reject root, so under root they run as the user `postgres`.
mod real {
    use super::*;
    use crate::guard::testing::postgres::Postgres;

    #[tokio::test]
    async fn real_postgres_gets_its_role_and_database_and_lets_nobody_else_in() {
        let postgres = Postgres::find();
        let root = postgres.dir();
        let args = args(root.path());
        let programs = programs(postgres.scripts(), &postgres.exec("initdb"), &postgres.exec("postgres"));
        let bound = Duration::from_secs(120);
        let told = tokio::time::timeout(bound, outcome(root.path(), &programs)).await.unwrap();
        let control = postgres.command("pg_controldata").arg("-D").arg(&args.pgdata).output().unwrap();
        let control = String::from_utf8(control.stdout).unwrap();
        let identifier = control.lines().find_map(|line| line.strip_prefix("Database system identifier:"));
        let identifier = identifier.unwrap().trim().parse().unwrap();
        let report = told.1.unwrap();
        assert_eq!(
            (told.0, report.verdict, report.system_identifier),
            (None, Verdict::InUse, Some(identifier))
        );
        assert_eq!(
            outcome(root.path(), &programs).await,
            (None, Some(report)),
            "the program says the same version"
        );

        let query = "SELECT datname, pg_get_userbyid(datdba) AS owner, has_database_privilege('pg_monitor', \
                     datname, 'CONNECT') AS open FROM pg_database WHERE datallowconn\n";
        let out = postgres.single(&args.pgdata, query);
        assert!(out.contains("datname = \"alice_data\"") && out.contains("owner = \"alice_tm\""), "{out}");
        assert_eq!(out.matches("open = \"f\"").count(), 3, "{out}");
        let hba = fs::read_to_string(args.pgdata.join("pg_hba.conf")).unwrap();
        let methods: Vec<&str> = hba
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
            .filter_map(|line| line.split_whitespace().last())
            .collect();
        assert!(!methods.is_empty() && methods.iter().all(|method| *method == "reject"), "{methods:?}");
    }
}
