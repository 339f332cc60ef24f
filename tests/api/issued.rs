//! The commands that print tokens, and whether the server takes what they print.

use crate::process::{TempFolder, answer_to, run};
use crate::support::server::{JWT_SECRET, TestServer, command};

#[test]
fn token_prints_a_jwt_that_the_server_takes() {
    let (code, token, _) =
        run(&["token", "--user", "ada", "--ttl", "1h"], &[("JWT_SECRET", JWT_SECRET)]);
    assert_eq!(code, 0);
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let server = TestServer::hosted(&format!("http://{}", sandbox.addr()), &[]);
    let answer = answer_to(server.post("/api/chatkit/session").bearer_auth(token.trim()));
    assert_eq!(answer.status(), 200);
    assert_eq!(
        run(&["token", "--user", "ada"], &[]).0,
        2,
        "without JWT_SECRET it is bad configuration"
    );
    let visitor = format!("visitor_{}", "0".repeat(32));
    let (code, token, err) = run(&["token", "--user", &visitor], &[("JWT_SECRET", JWT_SECRET)]);
    assert_eq!((code, token.as_str()), (2, ""), "the server takes no such token");
    assert!(err.contains("--user"), "{err}");
}

#[test]
fn service_token_prints_a_token_and_the_entry_that_lets_it_in() {
    let (code, out, _) = run(&["service-token", "--id", "billing"], &[]);
    assert_eq!(code, 0);
    let token = out.split_whitespace().find(|word| word.starts_with("cks_")).expect("a token");
    let entry = out.split_whitespace().find(|word| word.starts_with("billing:")).expect("an entry");
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let server =
        TestServer::hosted(&format!("http://{}", sandbox.addr()), &[("SERVICE_TOKENS", entry)]);
    let asked = server
        .post("/api/chatkit/session")
        .bearer_auth(token)
        .json(&serde_json::json!({"user": "ada"}));
    assert_eq!(answer_to(asked).status(), 200);
}

#[test]
fn service_token_reads_no_configuration() {
    let folder = TempFolder::new("broken-dotenv");
    folder.write(".env", "this is no line of a .env\n");
    let code =
        |args| command(args, &[]).current_dir(&folder.0).output().expect("it runs").status.code();
    assert_eq!(code(&["service-token", "--id", "billing"]), Some(0));
    assert_eq!(code(&["token", "--user", "ada"]), Some(2), "the file is broken");
}

#[test]
fn while_a_service_token_is_changed_the_old_and_the_new_one_are_good() {
    let printed = [(); 2].map(|()| run(&["service-token", "--id", "billing"], &[]).1);
    let word = |out: &str, start: &str| {
        out.split_whitespace()
            .find(|word| word.starts_with(start))
            .expect("it is printed")
            .to_owned()
    };
    let entries = printed.each_ref().map(|out| word(out, "billing:")).join(",");
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let server = TestServer::hosted(
        &format!("http://{}", sandbox.addr()),
        &[("SERVICE_TOKENS", entries.as_str())],
    );
    for out in printed {
        let asked = server.post("/api/chatkit/session").bearer_auth(word(&out, "cks_"));
        assert_eq!(answer_to(asked.json(&serde_json::json!({"user": "ada"}))).status(), 200);
    }
}
