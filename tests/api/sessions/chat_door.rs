//! The door to the chat, set up from variables as the binary does it: what it says of a request.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse;
use chatkit_server::auth::{Authenticator, ClientSecrets};
use chatkit_server::clock::{Clock, SystemClock};
use chatkit_server::config::{Config, Mode};
use chatkit_server::door::{ChatDoor, Door, Holder};
use chatkit_server::error::Error;
use chatkit_server::limits::Limits;
use chatkit_server::sessions::Sessions;
use chatkit_server::sessions::signed::SignedMint;
use chatkit_server::sessions::workflows::Workflows;
use chatkit_server::store::connect;
use chatkit_server::store::revoked::Revoked;
use chatkit_server::telemetry::metrics::Metrics;
use chatkit_server::telemetry::request::RequestContext;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::support::server::SELF_HOSTED;

/// The door of one replica, which is open until it is dropped.
pub(crate) struct Replica {
    door: ChatDoor,
    _stop: DropGuard,
}

impl Replica {
    /// A door by the machine's clock, with [`SELF_HOSTED`] and these variables.
    pub(crate) async fn new(vars: &[(&str, &str)]) -> Self {
        Self::at(vars, Arc::new(SystemClock)).await
    }

    /// A door by this clock.
    pub(crate) async fn at(vars: &[(&str, &str)], clock: Arc<dyn Clock>) -> Self {
        let vars: HashMap<&str, &str> = SELF_HOSTED.iter().chain(vars).copied().collect();
        let config = Config::from_vars(&|name| vars.get(name).map(|value| (*value).to_owned()));
        let config = config.unwrap_or_else(|problems| panic!("{problems:?}"));
        let Mode::SelfHosted(own) = &config.mode else { panic!("the mode is self-hosted") };
        let (metrics, _) = Metrics::new(true);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let store =
            connect(own.database_url.expose(), Arc::clone(&clock)).await.expect("a database");
        let limits = Arc::new(Limits::new(&config.limits, None, &metrics));
        let authenticator =
            Authenticator::new(&config.auth, Arc::clone(&clock), metrics, &tasks, stop.clone());
        let door = Door {
            authenticator: authenticator.expect("it needs no client"),
            proxies: config.limits,
            origins: Arc::new(config.service.origins),
        };
        let door = ChatDoor {
            door: Arc::new(door),
            limits,
            secrets: Arc::new(ClientSecrets::new(&own.signing_keys, clock)),
            revoked: Arc::new(Revoked::new(store)),
            agents: Arc::clone(&own.agents),
        };
        Self { door, _stop: stop.drop_guard() }
    }

    /// The sessions of this replica.
    pub(crate) fn sessions(&self) -> Sessions {
        let (metrics, _) = Metrics::new(false);
        let (secrets, revoked) = (Arc::clone(&self.door.secrets), Arc::clone(&self.door.revoked));
        Sessions {
            mint: Arc::new(SignedMint::new(secrets, revoked, 600)),
            workflows: Workflows::of_agents(&self.door.agents),
            tasks: TaskTracker::new(),
            metrics,
            timeout: Duration::from_secs(1),
        }
    }

    /// What is said of a request with these headers.
    pub(crate) async fn ask(&self, headers: &[(&str, &str)]) -> Result<Holder, Error> {
        let mut request = Request::post("/api/chatkit");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).expect("a request");
        self.door.door.identify(IpAddr::V4(Ipv4Addr::LOCALHOST), &mut request);
        let (parts, _) = request.into_parts();
        let context = RequestContext::default();
        let holder = self.door.holder(&parts, &context).await;
        assert_eq!(
            context.user(),
            holder.as_ref().ok().map(|holder| &holder.user),
            "the log says who it is"
        );
        holder
    }

    /// User and workflow of the bearer of this token, or the code of the error.
    pub(crate) async fn bearer(&self, token: &str) -> Result<(String, String), &'static str> {
        let holder = self.ask(&[("authorization", &format!("Bearer {token}"))]).await;
        holder
            .map(|holder| (holder.user.as_str().to_owned(), holder.workflow))
            .map_err(|error| error.kind().parts().2)
    }

    /// The whole refusal of this bearer: status, code, what the log says, and the challenge.
    pub(crate) async fn refusal(&self, token: &str) -> (u16, &'static str, String, String) {
        let holder = self.ask(&[("authorization", &format!("Bearer {token}"))]).await;
        let Err(error) = holder else { panic!("{token} is let in") };
        let (code, log) = (error.kind().parts().2, error.log_text());
        let response = error.into_response();
        let challenge = response.headers().get("www-authenticate").expect("a challenge");
        (response.status().as_u16(), code, log, challenge.to_str().expect("text").to_owned())
    }

    /// Counts so many requests of this bearer: how many pass.
    pub(crate) async fn count(&self, token: &str, requests: usize) -> usize {
        let holder =
            self.ask(&[("authorization", &format!("Bearer {token}"))]).await.expect("it is let in");
        let mut passed = 0;
        for _ in 0..requests {
            passed +=
                usize::from(self.door.count(&holder, &RequestContext::default()).await.is_ok());
        }
        passed
    }
}
