//! Does `dev` work with nothing configured, in both modes?

use std::process::Command;

use crate::process::free_port;
use crate::support::server::command;

#[test]
fn dev_needs_nothing_and_its_curl_lines_work_as_pasted() {
    for (arguments, wanted) in [
        (&["dev"][..], &["\"client_secret\":\"eyJ", "\"type\":\"thread.created\""][..]),
        (&["dev", "--mode", "hosted"], &["\"client_secret\":\"ek_"]),
    ] {
        let port = free_port().to_string();
        let mut child = command(arguments, &[("PORT", &port), ("PATH", "/usr/bin:/bin")])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("it starts");
        let out = std::io::BufReader::new(child.stdout.take().expect("stdout is piped"));
        let lines = std::io::BufRead::lines(out).map(|line| line.expect("readable"));
        let curls = lines.filter(|line| line.trim_start().starts_with("curl "));
        for (curl, wanted) in curls.take(wanted.len()).zip(wanted) {
            let retry = format!("{} --retry 20 --retry-connrefused --retry-delay 0", curl.trim());
            let answer = Command::new("sh").args(["-c", &retry]).output().expect("curl runs");
            let answer = String::from_utf8_lossy(&answer.stdout);
            assert!(answer.contains(wanted), "{arguments:?}: {answer}");
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[test]
fn dev_says_what_a_real_chat_needs_and_what_becomes_of_a_key_that_is_set() {
    let welcome = |mode: &str, vars: &[(&str, &str)]| {
        let mut child = command(&["dev", "--mode", mode], &[vars, &[("PORT", "0")]].concat())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("it starts");
        let out = std::io::BufReader::new(child.stdout.take().expect("stdout is piped"));
        let lines = std::io::BufRead::lines(out).map(|line| line.expect("readable"));
        let text: Vec<_> = lines.take_while(|line| !line.ends_with("Ctrl-C ends it.")).collect();
        let _ = child.kill();
        let _ = child.wait();
        text.join("\n")
    };
    for (mode, base, needs) in [
        (
            "hosted",
            "CHATKIT_API_BASE",
            "set CHATKIT_API_BASE=https://api.openai.com, OPENAI_API_KEY and CHATKIT_WORKFLOW_ID.",
        ),
        (
            "self-hosted",
            "OPENAI_BASE_URL",
            "set OPENAI_BASE_URL=https://api.openai.com/v1, OPENAI_API_KEY and CHATKIT_MODEL.",
        ),
    ] {
        let none = welcome(mode, &[]);
        let good = welcome(mode, &[("OPENAI_API_KEY", "sk-canary")]);
        let bad = welcome(mode, &[("OPENAI_API_KEY", "canary")]);
        for text in [&none, &good, &bad] {
            assert!(text.contains(needs) && !text.contains("canary"), "{text}");
        }
        assert!(!none.contains("OPENAI_API_KEY is set"), "{none}");
        assert!(good.contains("OPENAI_API_KEY is set; the sandbox gets it, OpenAI does not."), "{good}");
        assert!(bad.contains("the sandbox refuses it"), "{bad}");
        let model = ("CHATKIT_MODEL", "gpt-5.1");
        let elsewhere = welcome(mode, &[(base, "http://127.0.0.1:9"), ("OPENAI_API_KEY", "canary"), model]);
        assert!(!elsewhere.contains("sandbox"), "{elsewhere}");
    }
}
