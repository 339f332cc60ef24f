//! Whom a fixture is played to: this server's binary, or the server that `CHATKIT_PARITY_URL`
//! names.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use url::Url;

use crate::model::Model;
use crate::support::server::{JWT_SECRET, TestServer};
use crate::support::tokens;

/// A server under test.
pub(crate) struct Target {
    endpoint: Url,
    client: Client,
    token: String,
    /// What the other server is told in headers; none for ours.
    headers: Vec<(&'static str, String)>,
    server: Option<TestServer>,
    folder: Option<PathBuf>,
}

/// The address of another server to play to.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs the tests chooses the server; nothing else reads this"
)]
pub(crate) fn other_server() -> Option<String> {
    std::env::var("CHATKIT_PARITY_URL").ok().filter(|url| !url.is_empty())
}

impl Target {
    /// Starts the binary, or takes the other server, for one fixture.
    pub(crate) fn start(name: &str, api: &str, model: &Model) -> Self {
        // A connection each: the official server closes its own after a 500.
        let client =
            Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(Duration::from_secs(60));
        let client = client.build().expect("a client");
        let token = tokens::hs256("ada");
        if let Some(url) = other_server() {
            let run = format!("{name}-{}-{}", std::process::id(), tokens::now());
            let headers = vec![
                ("x-parity-model", model.base()),
                ("x-parity-api", api.to_owned()),
                ("x-parity-run", run),
            ];
            let endpoint = url.parse().expect("CHATKIT_PARITY_URL is a URL");
            return Self { endpoint, client, token, headers, server: None, folder: None };
        }
        let folder =
            std::env::temp_dir().join(format!("chatkit-parity-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder of our own");
        let agents = folder.join("agents.toml");
        fs::write(&agents, agents_toml(api)).expect("the folder is writable");
        let path = |name: &str| folder.join(name).display().to_string();
        let vars = [
            ("CHATKIT_MODE", "self-hosted".to_owned()),
            ("OPENAI_BASE_URL", model.base()),
            ("OPENAI_API_KEY", "sk-test".to_owned()),
            ("CHATKIT_SIGNING_KEY", "a-signing-key-of-32-bytes-or-more".to_owned()),
            ("JWT_SECRET", JWT_SECRET.to_owned()),
            ("DATABASE_URL", format!("sqlite://{}", path("chatkit.db"))),
            ("CHATKIT_UPLOADS_DIR", path("uploads")),
            ("CHATKIT_AGENTS", path("agents.toml")),
            ("RATE_LIMIT_USER_PER_MINUTE", "0".to_owned()),
            ("RATE_LIMIT_READS_PER_MINUTE", "0".to_owned()),
            ("CHATKIT_MAX_TURNS_PER_USER", "0".to_owned()),
            ("RATE_LIMIT_IP_PER_MINUTE", "0".to_owned()),
        ];
        let vars: Vec<(&str, &str)> =
            vars.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let server = TestServer::start(&["serve"], &vars);
        let endpoint = server.url("/api/chatkit").parse().expect("a URL");
        Self {
            endpoint,
            client,
            token,
            headers: Vec::new(),
            server: Some(server),
            folder: Some(folder),
        }
    }

    /// Whether it is our own server, and may differ where the table says so.
    pub(crate) fn is_ours(&self) -> bool {
        self.server.is_some()
    }

    /// A request to the endpoint.
    pub(crate) fn post(&self, body: String) -> RequestBuilder {
        self.to(self.endpoint.clone()).header("content-type", "application/json").body(body)
    }

    /// A request to an address that an answer named.
    pub(crate) fn post_to(&self, address: &str) -> RequestBuilder {
        self.to(self.endpoint.join(address).expect("an address"))
    }

    /// What the server logged.
    pub(crate) fn logs(&self) -> String {
        self.server.as_ref().map(TestServer::logs).unwrap_or_default()
    }

    fn to(&self, url: Url) -> RequestBuilder {
        let request = self.client.post(url).bearer_auth(&self.token);
        self.headers.iter().fold(request, |request, (name, value)| request.header(*name, value))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // The server first: it still writes into the folder.
        self.server.take();
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// The agent that the fixtures were captured with.
fn agents_toml(api: &str) -> String {
    let reasoning = if api == "responses" { "reasoning = { summary = \"auto\" }\n" } else { "" };
    format!(
        r#"default = "scripted"

[agents.scripted]
model = "scripted"
instructions = "You are a helpful assistant."
model_api = "{api}"
titles = false
{reasoning}
[[agents.scripted.tools]]
type = "client"
name = "get_selection"
description = "What the user has selected"
parameters = {{ type = "object", properties = {{ project = {{ type = "string" }} }}, required = ["project"], additionalProperties = false }}
"#
    )
}
