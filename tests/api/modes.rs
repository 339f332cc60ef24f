//! Which mode is meant, and what is said of variables that it does not read.

use crate::process::{TempFolder, run};
use crate::support::server::{API_KEY, JWT_SECRET, SIGNING_KEY, TestServer, command};

/// What each mode needs beside its own.
const SHARED: &[(&str, &str)] = &[("OPENAI_API_KEY", API_KEY), ("JWT_SECRET", JWT_SECRET)];

/// What `serve` complains of with [`SHARED`] and these variables.
fn complaints(vars: &[(&str, &str)]) -> Vec<String> {
    let (code, out, err) = run(&["serve"], &[SHARED, vars].concat());
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    err.lines().map(|line| line.trim_start_matches("chatkit-server: ").to_owned()).collect()
}

fn names(complaints: &[String]) -> Vec<&str> {
    complaints.iter().filter_map(|line| line.split(':').next()).collect()
}

#[test]
fn without_a_mode_a_workflow_means_hosted_and_everything_else_self_hosted() {
    for (vars, expected) in [
        (&[][..], &["CHATKIT_SIGNING_KEY", "CHATKIT_MODEL"][..]),
        (&[("CHATKIT_WORKFLOWS", "a=wf_1")], &["CHATKIT_SIGNING_KEY", "CHATKIT_MODEL"]),
        (
            &[("CHATKIT_MODE", ""), ("CHATKIT_WORKFLOW_ID", ""), ("CHATKIT_MODEL", "m")],
            &["CHATKIT_SIGNING_KEY"],
        ),
        (&[("CHATKIT_WORKFLOW_ID", "canary")], &["CHATKIT_WORKFLOW_ID"]),
        (&[("WORKFLOW_ID", "canary")], &["WORKFLOW_ID"]),
        (&[("CHATKIT_MODE", "hosted")], &["CHATKIT_WORKFLOW_ID"]),
        (
            &[("CHATKIT_MODE", "self-hosted"), ("CHATKIT_WORKFLOW_ID", "?")],
            &["CHATKIT_SIGNING_KEY", "CHATKIT_MODEL"],
        ),
        (&[("CHATKIT_MODE", "hosted"), ("CHATKIT_MODEL", "m")], &["CHATKIT_WORKFLOW_ID"]),
    ] {
        assert_eq!(names(&complaints(vars)), expected, "{vars:?}");
    }
}

#[test]
fn a_workflow_and_a_model_without_a_mode_is_an_error_that_says_what_to_set() {
    for workflow in ["CHATKIT_WORKFLOW_ID", "WORKFLOW_ID"] {
        for model in ["CHATKIT_MODEL", "CHATKIT_AGENTS"] {
            let found = complaints(&[(workflow, "wf_canary"), (model, "canary")]);
            let expected = format!(
                "CHATKIT_MODE: must be set, because {workflow} and {model} are both: `hosted` "
            );
            assert!(found.len() == 1 && found[0].starts_with(&expected), "{found:?}");
            assert!(
                found[0].contains("`self-hosted`") && !found[0].contains("canary"),
                "{found:?}"
            );
        }
    }
    let found =
        complaints(&[("CHATKIT_WORKFLOW_ID", "wf_1"), ("CHATKIT_MODEL", "m"), ("PORT", "?")]);
    assert_eq!(names(&found), ["CHATKIT_MODE", "PORT"], "what is shared is told all the same");
}

#[test]
fn a_typo_in_the_mode_is_one_problem() {
    for more in [
        &[][..],
        &[("CHATKIT_MODEL", "m"), ("CHATKIT_SIGNING_KEY", SIGNING_KEY)],
        &[("CHATKIT_WORKFLOW_ID", "wf_1")],
    ] {
        let found = complaints(&[&[("CHATKIT_MODE", "selfhosted")], more].concat());
        assert_eq!(found, ["CHATKIT_MODE: must be `hosted` or `self-hosted`"], "{more:?}");
    }
}

#[test]
fn a_copy_of_the_example_file_is_for_self_hosted_mode() {
    let folder = TempFolder::new("example");
    let example = include_str!("../../.env.example");
    folder.write(".env", example);
    let serve = || command(&["serve"], &[]).current_dir(&folder.0).output().expect("it runs");
    let err = String::from_utf8(serve().stderr).expect("output is UTF-8");
    let named: Vec<_> =
        err.lines().map(|line| line.split(": ").nth(1).unwrap_or_default()).collect();
    assert_eq!(
        named,
        ["CHATKIT_SIGNING_KEY", "JWT_SECRET"],
        "what is to be filled in is named: {err}"
    );

    let filled = example
        .replace("\nCHATKIT_SIGNING_KEY=\n", &format!("\nCHATKIT_SIGNING_KEY={SIGNING_KEY}\n"))
        .replace("\nJWT_SECRET=\n", &format!("\nJWT_SECRET={JWT_SECRET}\n"));
    folder.write(".env", &filled);
    let vars = [("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"), ("DATABASE_URL", "sqlite::memory:")];
    let output = command(&["check"], &vars).current_dir(&folder.0).output().expect("it runs");
    let out = String::from_utf8(output.stdout).expect("output is UTF-8");
    assert!(out.starts_with("ok      configuration: "), "{out}");
    assert!(out.contains("model gpt-5.1: "), "{out}");
}

#[test]
fn a_variable_that_the_mode_does_not_read_is_warned_of() {
    let hosted = [
        ("CHATKIT_API_BASE", "http://127.0.0.1:9"),
        ("CHATKIT_WORKFLOW_ID", "wf_1"),
        ("LOG_FORMAT", "json"),
    ];
    let self_hosted = [
        ("CHATKIT_MODEL", "m"),
        ("CHATKIT_SIGNING_KEY", SIGNING_KEY),
        ("DATABASE_URL", "sqlite::memory:"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"),
    ];
    for (mode, other) in [("hosted", "self-hosted"), ("self-hosted", "hosted")] {
        let vars = [
            SHARED,
            &hosted,
            &self_hosted,
            &[("CHATKIT_STATE_CLAIMS", "plan"), ("CHATKIT_MODE", mode)],
        ]
        .concat();
        let server = TestServer::start(&["serve"], &vars);
        server.log_line(|line| line["message"] == "listening");
        let logs = server.logs();
        let end = format!(" is set and not read: only {other} mode reads it");
        let of_other: &[&str] = match mode {
            "hosted" => {
                &["CHATKIT_MODEL", "CHATKIT_SIGNING_KEY", "DATABASE_URL", "OPENAI_BASE_URL"]
            }
            _ => &["CHATKIT_API_BASE", "CHATKIT_STATE_CLAIMS", "CHATKIT_WORKFLOW_ID"],
        };
        for name in of_other {
            assert!(logs.contains(&format!("\"{name}{end}\"")), "{name} in {mode} mode: {logs}");
        }
        assert_eq!(logs.matches(" is set and not read: ").count(), of_other.len(), "{logs}");
    }
}
