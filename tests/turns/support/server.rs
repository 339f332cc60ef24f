//! How does a service run inside a test? On a free port, with its own agent, until it is told to
//! end.

use std::collections::HashMap;
use std::sync::Arc;

use chatkit_server::agent::Agent;
use chatkit_server::config::Config;
use chatkit_server::service::{Own, Service};
use chatkit_server::store::Store;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::client::Client;

pub(crate) const JWT_SECRET: &str = "a secret of thirty-two bytes and more";

/// What a service is started with.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) agent: Option<Arc<dyn Agent>>,
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) vars: Vec<(&'static str, String)>,
}

/// A running service.
pub(crate) struct Server {
    address: String,
    signal: Arc<Notify>,
    running: JoinHandle<bool>,
}

impl Server {
    pub(crate) async fn start(setup: Setup) -> Self {
        let Setup { agent, store, vars } = setup;
        let defaults = [
            ("CHATKIT_MODE", "self-hosted"),
            ("OPENAI_API_KEY", "sk-test"),
            ("CHATKIT_MODEL", "parrot"),
            ("CHATKIT_SIGNING_KEY", "a signing key of thirty-two bytes and more"),
            ("JWT_SECRET", JWT_SECRET),
            ("DATABASE_URL", "sqlite::memory:"),
            ("CHATKIT_UPLOADS_DIR", "/nonexistent/uploads"),
            ("RATE_LIMIT_IP_PER_MINUTE", "0"),
            ("RATE_LIMIT_USER_PER_MINUTE", "0"),
            ("RATE_LIMIT_READS_PER_MINUTE", "0"),
            ("CHATKIT_MAX_TURNS_PER_USER", "0"),
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
        ];
        let mut known: HashMap<&str, String> =
            defaults.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        known.extend(vars);
        let config =
            Config::from_vars(&|name| known.get(name).cloned()).expect("the configuration is good");
        let agents = agent.into_iter().map(|agent| ("default".to_owned(), agent)).collect();
        let service =
            Service::bind(config, Own { agents, store, dev: None }).await.expect("it starts");
        let address = format!("http://{}", service.local_addr());
        let signal = Arc::new(Notify::new());
        let heard = Arc::clone(&signal);
        let running = tokio::runtime::Handle::current()
            .spawn(async move { service.run(move || Arc::clone(&heard).notified_owned()).await });
        Self { address, signal, running }
    }

    /// A user of this service.
    pub(crate) fn user(&self, name: &str) -> Client {
        Client::new(&self.address, name)
    }

    /// Begins a shutdown.
    pub(crate) fn stop(&self) {
        self.signal.notify_one();
    }

    /// Waits until the service has ended; says whether everything finished by itself.
    pub(crate) async fn ended(self) -> bool {
        self.running.await.expect("it does not panic")
    }
}
