//! What a browser gets at `/`: the built-in page, the operator's folder, or nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use reqwest::Response;
use serde_json::{Value, json};

use crate::support::server::{PATIENCE, TestServer};
use crate::support::tokens;

const NOWHERE: &str = "http://127.0.0.1:9";

async fn get(server: &TestServer, path: &str) -> Response {
    server.get(path).send().await.expect("an answer")
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

/// Status and body of an answer to a target that no client library would send as it stands.
fn raw(server: &TestServer, method: &str, target: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.addr()).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let request = format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it ends");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer)
}

async fn assert_not_found(answer: Response) {
    let path = answer.url().path().to_owned();
    assert_eq!(answer.status(), 404, "{path}");
    assert_error(answer, "invalid_request_error", "not_found").await;
}

/// The one shape of every error.
async fn assert_error(answer: Response, r#type: &str, code: &str) {
    let path = answer.url().path().to_owned();
    assert_eq!(header(&answer, "content-type"), "application/json", "{path}");
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(
        (&body["error"]["type"], &body["error"]["code"]),
        (&json!(r#type), &json!(code)),
        "{path}"
    );
    assert_eq!(body["error"]["message"], body["message"], "{path}");
}

#[tokio::test]
async fn the_built_in_page_allows_itself_chatkit_and_nothing_else() {
    let cdn = "https://cdn.platform.openai.com";
    for (assets, and_cdn, frames) in
        [("cdn", format!(" {cdn}"), cdn), ("proxy", String::new(), "'self'")]
    {
        let server = TestServer::hosted(NOWHERE, &[("CHATKIT_ASSETS", assets)]);
        let page = get(&server, "/").await;
        assert_eq!(page.status(), 200);
        let policy = format!(
            "default-src 'none'; script-src 'self'{and_cdn}; style-src 'self' 'unsafe-inline'; \
             frame-src {frames}; connect-src 'self' https://api.openai.com{and_cdn}; img-src \
             'self' data: https:; font-src 'self' data:{and_cdn}; base-uri 'none'; form-action \
             'none'; frame-ancestors 'self'"
        );
        assert_eq!(header(&page, "content-security-policy"), policy);
        assert_eq!(header(&page, "x-content-type-options"), "nosniff");
        assert_eq!(header(&page, "referrer-policy"), "strict-origin-when-cross-origin");
        let html = page.text().await.expect("text");
        let inline =
            html.split("<script").skip(1).filter(|script| !script.contains("src=")).count();
        assert_eq!(inline, 0, "the policy would stop a script inside the page");
        assert!(
            !html.contains(" onclick=") && !html.contains("javascript:"),
            "nor would a handler run"
        );
    }
}

#[tokio::test]
async fn the_files_of_the_page_have_their_types_and_are_not_sent_twice() {
    let server = TestServer::hosted(NOWHERE, &[]);
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/sample.css", "text/css; charset=utf-8"),
        ("/sample.js", "text/javascript; charset=utf-8"),
        ("/steps.js", "text/javascript; charset=utf-8"),
        ("/loader.js", "text/javascript; charset=utf-8"),
        ("/requests.js", "text/javascript; charset=utf-8"),
        ("/chatkit-fetch.js", "text/javascript; charset=utf-8"),
        ("/chatkit-fetch.d.ts", "text/plain; charset=utf-8"),
        ("/protocol.js", "text/javascript; charset=utf-8"),
        ("/items.js", "text/javascript; charset=utf-8"),
        ("/textbox.js", "text/javascript; charset=utf-8"),
    ] {
        let file = get(&server, path).await;
        assert_eq!(
            (file.status().as_u16(), header(&file, "content-type")),
            (200, content_type),
            "{path}"
        );
        assert_eq!(header(&file, "cache-control"), "no-cache");
        let (etag, length) =
            (header(&file, "etag").to_owned(), file.content_length().expect("a length"));
        assert!(etag.len() > 20 && etag.starts_with('"') && etag.ends_with('"'), "{etag}");
        assert_eq!(file.text().await.expect("text").len() as u64, length);

        for known in [etag.clone(), format!("W/{etag}"), format!("\"old\", {etag}"), "*".to_owned()]
        {
            let answer =
                server.get(path).header("if-none-match", &known).send().await.expect("an answer");
            assert_eq!(
                (answer.status().as_u16(), header(&answer, "etag")),
                (304, &*etag),
                "{path} {known}"
            );
            assert_eq!(answer.text().await.expect("no body"), "");
        }
        let stale =
            server.get(path).header("if-none-match", "\"old\"").send().await.expect("an answer");
        assert_eq!(stale.status(), 200);

        let (status, head) = raw(&server, "HEAD", path);
        assert_eq!(status, 200);
        assert!(
            head.to_ascii_lowercase().contains(&format!("\r\ncontent-length: {length}\r\n")),
            "{head}"
        );
        assert!(head.ends_with("\r\n\r\n"), "no body: {head}");
    }
}

#[tokio::test]
async fn pages_learn_what_they_need_and_no_more() {
    let server = TestServer::hosted(NOWHERE, &[("CHATKIT_SESSION_TTL_SECONDS", "300")]);
    let script = "https://cdn.platform.openai.com/deployments/chatkit/chatkit.js";
    let config: Value = get(&server, "/api/chatkit/config").await.json().await.expect("JSON");
    assert_eq!(config, json!({"mode": "hosted", "scriptUrl": script}));
    let settings: Value = get(&server, "/sample.json").await.json().await.expect("JSON");
    assert_eq!(settings, json!({"dev": false, "anonymous": false, "sessionTtlSeconds": 300}));

    let vars = [("CHATKIT_ASSETS", "proxy"), ("CHATKIT_CDN_BASE", "https://mirror.example/x/")];
    let proxy = TestServer::hosted(NOWHERE, &vars);
    let config: Value = get(&proxy, "/api/chatkit/config").await.json().await.expect("JSON");
    assert_eq!(config, json!({"mode": "hosted", "scriptUrl": "/api/chatkit/assets/chatkit.js"}));
    let mirror = TestServer::hosted(NOWHERE, &vars[1..]);
    let config: Value = get(&mirror, "/api/chatkit/config").await.json().await.expect("JSON");
    let script = "https://mirror.example/x/deployments/chatkit/chatkit.js";
    assert_eq!(config, json!({"mode": "hosted", "scriptUrl": script}));
}

#[tokio::test]
async fn off_serves_no_page() {
    let server = TestServer::hosted(NOWHERE, &[("STATIC_DIR", "off")]);
    for path in ["/", "/index.html", "/sample.js", "/sample.json"] {
        assert_not_found(get(&server, path).await).await;
    }
    assert_eq!(
        get(&server, "/api/chatkit/config").await.status(),
        200,
        "embedding pages still ask"
    );
}

/// A folder to serve, beside a file that must not be.
struct Site(PathBuf);

impl Site {
    fn new(name: &str) -> Self {
        let name = format!("chatkit-site-{name}-{}-{}", std::process::id(), tokens::now());
        let site = Self(std::env::temp_dir().join(name));
        for folder in ["public/docs/deep", "public/empty", "public/.git", "outside"] {
            std::fs::create_dir_all(site.0.join(folder)).expect("a folder");
        }
        for (path, text) in [
            ("public/index.html", "<p>home</p>"),
            ("public/app.js", "let x = 1;"),
            ("public/docs/index.html", "<p>docs</p>"),
            ("public/docs/deep/a b.txt", "0123456789"),
            ("public/.env", "SECRET"),
            ("public/.git/config", "SECRET"),
            ("public/docs/.htpasswd", "SECRET"),
            ("outside/secret.txt", "SECRET"),
            ("public-too.txt", "SECRET"),
        ] {
            std::fs::write(site.0.join(path), text).expect("a file");
        }
        let public = site.0.join("public");
        symlink(site.0.join("outside/secret.txt"), public.join("link.txt")).expect("a link");
        symlink("../outside", public.join("linked")).expect("a link");
        symlink("../public-too.txt", public.join("docs-too.txt")).expect("a link");
        symlink("/etc", public.join("docs/etc")).expect("a link");
        symlink("app.js", public.join("same.js")).expect("a link");
        site
    }

    fn serve(&self) -> TestServer {
        let public = self.0.join("public");
        TestServer::hosted(NOWHERE, &[("STATIC_DIR", public.to_str().expect("UTF-8"))])
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_folder_is_served_with_its_index_files_types_and_ranges() {
    let site = Site::new("files");
    let server = site.serve();
    for (path, content_type, text) in [
        ("/", "text/html", "<p>home</p>"),
        ("/index.html", "text/html", "<p>home</p>"),
        ("/docs/", "text/html", "<p>docs</p>"),
        ("/app.js", "text/javascript", "let x = 1;"),
        ("/docs/deep/a%20b.txt", "text/plain", "0123456789"),
        ("/same.js", "text/javascript", "let x = 1;"),
    ] {
        let answer = get(&server, path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert!(
            header(&answer, "content-type").starts_with(content_type),
            "{path}: {:?}",
            answer.headers()
        );
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        assert_eq!(answer.text().await.expect("text"), text, "{path}");
    }
    let file = || server.get("/docs/deep/a%20b.txt");
    let part = file().header("range", "bytes=2-4").send().await.expect("an answer");
    assert_eq!((part.status().as_u16(), header(&part, "content-range")), (206, "bytes 2-4/10"));
    assert_eq!(part.text().await.expect("text"), "234");
    for beyond in ["bytes=10-", "bytes=99-", "bytes=0-1,4-5"] {
        let beyond = file().header("range", beyond).send().await.expect("an answer");
        assert_eq!(
            (beyond.status().as_u16(), header(&beyond, "content-range")),
            (416, "bytes */10")
        );
        assert_error(beyond, "invalid_request_error", "range_not_satisfiable").await;
    }
    let changed = file().header("if-unmodified-since", "Fri, 10 Oct 1980 00:00:00 GMT");
    let changed = changed.send().await.expect("an answer");
    assert_eq!(changed.status(), 412);
    assert_error(changed, "invalid_request_error", "precondition_failed").await;
    let (status, head) = raw(&server, "HEAD", "/app.js");
    assert_eq!(status, 200);
    assert!(head.contains("\r\ncontent-length: 10\r\n") && head.ends_with("\r\n\r\n"), "{head}");

    let modified = file().send().await.expect("an answer");
    let unchanged = file().header("if-modified-since", header(&modified, "last-modified"));
    assert_eq!(unchanged.send().await.expect("an answer").status(), 304);
    assert_eq!(get(&server, "/api/chatkit/config").await.status(), 200, "the API is where it was");
    let posted = server.post("/app.js").send().await.expect("an answer");
    assert_eq!((posted.status().as_u16(), header(&posted, "allow")), (405, "GET,HEAD"));
}

#[tokio::test]
async fn nothing_but_the_folders_own_visible_files_comes_out_of_it() {
    let site = Site::new("fence");
    let server = site.serve();
    for path in [
        "/nope",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/docs/.htpasswd",
        "/link.txt",
        "/linked/secret.txt",
        "/linked/",
        "/docs-too.txt",
        "/docs/etc/passwd",
        "/docs/etc",
        "/empty/",
        "/sample.js",
    ] {
        assert_not_found(get(&server, path).await).await;
    }
    for target in [
        "/../outside/secret.txt",
        "/docs/../../outside/secret.txt",
        "/%2e%2e/outside/secret.txt",
        "/%2E%2E%2Foutside/secret.txt",
        "/..%2foutside/secret.txt",
        "/..%5coutside%5csecret.txt",
        "/..\\outside\\secret.txt",
        "/docs/%2e%2e/%2e%2e/outside/secret.txt",
        "/%252e%252e/outside/secret.txt",
        "/./../outside/secret.txt",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/app.js%00.txt",
        "/../public-too.txt",
        "/-too.txt",
        "http://x/../outside/secret.txt",
    ] {
        let (status, answer) = raw(&server, "GET", target);
        assert!(matches!(status, 400 | 404), "{target}: {answer}");
        assert!(!answer.contains("SECRET") && !answer.contains("root:"), "{target}: {answer}");
    }
    for target in ["/docs", "//docs", "///docs", "//docs/deep"] {
        let (status, answer) = raw(&server, "GET", target);
        assert!(matches!(status, 301 | 307 | 308 | 404), "{target}: {answer}");
        assert!(
            !answer.to_ascii_lowercase().contains("location: //"),
            "it leads to another host: {answer}"
        );
        assert!(!answer.contains("a b.txt") && !answer.contains("deep</"), "no listing: {answer}");
    }
}
