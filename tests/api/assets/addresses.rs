//! The addresses in the files of the widget: those under which the browser came.

use super::{ASSETS, Cdn, raw};
use crate::support::server::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_those_under_which_the_browser_came_and_a_hostile_host_is_refused() {
    let cdn = Cdn::start().await;
    let trusting = cdn.proxy(&[("TRUSTED_PROXIES", "127.0.0.1/32")]);
    let direct = cdn.proxy(&[]);
    let ask = |server: &TestServer, headers: &str| {
        let request =
            format!("GET {ASSETS}chatkit.js HTTP/1.1\r\n{headers}\r\nconnection: close\r\n\r\n");
        tokio::task::block_in_place(|| raw(server, &request))
    };
    let forwarded =
        "host: chat.example.com\r\nx-forwarded-proto: https\r\nx-forwarded-host: evil.example";
    let answer = ask(&trusting, forwarded);
    assert!(answer.contains(r#"o="https://chat.example.com/api/chatkit/assets""#), "{answer}");
    assert!(!answer.contains("evil.example"), "{answer}");
    assert!(
        answer.to_ascii_lowercase().contains("vary: host"),
        "a cache must tell hosts apart: {answer}"
    );
    let answer = ask(&direct, forwarded);
    assert!(
        answer.contains(r#"o="http://chat.example.com/api/chatkit/assets""#),
        "not believed: {answer}"
    );
    let answer = ask(&trusting, "host: [::1]:8080\r\nx-forwarded-for: 192.0.2.1");
    assert!(answer.contains(r#"o="http://[::1]:8080/api/chatkit/assets""#), "{answer}");

    for host in [
        "\";alert(1)//",
        "x\"><script>",
        "a/b",
        "a?b",
        "a#b",
        "user@evil.example",
        "a b",
        "a\\b",
        "a'b",
        "a`b",
        "${x}",
        "",
    ] {
        let answer = ask(&direct, &format!("host: {host}"));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{host}: {answer}");
        assert!(!answer.contains("alert") && !answer.contains("const "), "{host}: {answer}");
    }
    let answer = ask(&direct, "host: one.example\r\nhost: two.example");
    assert!(answer.starts_with("HTTP/1.1 400 "), "two hosts: {answer}");
}
