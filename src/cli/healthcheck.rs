//! `healthcheck`: is the server on this host ready? For a container that has no shell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Failure, read};
use crate::config::env::Environment;
use crate::config::service::{host, port};

/// How long the server may take to answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// Asks `/readyz` where `HOST` and `PORT` say the server listens.
pub(super) async fn healthcheck(vars: &Environment) -> Result<(), Failure> {
    let (host, port) = read(vars, |vars| (host(vars), port(vars)))?;
    let host = match host.parse() {
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => "127.0.0.1",
        Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => "::1",
        _ => &host,
    };
    let status = tokio::time::timeout(DEADLINE, readiness(host, port)).await;
    let status = status.map_err(|_| anyhow!("{host}:{port} did not answer within 3 seconds"))??;
    if status == "200" { Ok(()) } else { Err(anyhow!("/readyz answered {status}").into()) }
}

/// The status of `GET /readyz`. One plain request needs no client, and so no certificates.
async fn readiness(host: &str, port: u16) -> Result<String, Failure> {
    let mut stream =
        TcpStream::connect((host, port)).await.with_context(|| format!("{host}:{port} can't be reached"))?;
    let request = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.context("the request could not be sent")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.context("the answer broke off")?;
    let head = String::from_utf8_lossy(&head);
    Ok(head.split(' ').nth(1).unwrap_or_default().to_owned())
}
