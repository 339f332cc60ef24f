//! What becomes of images that an agent of a program's own shows?

use std::sync::Arc;

use chatkit_server::agent::{Agent, AgentError, AgentEvent, Turn};
use chatkit_server::protocol::{GeneratedImage, Item, ItemKind, ItemUpdate};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::support::client::{create, thread_of};
use crate::support::server::{Server, Setup};

const ELSEWHERE: &str = "https://images.example/1.png";

/// Shows an image that is elsewhere, and one that it keeps here, in every event that can carry one.
struct Painter;

impl Agent for Painter {
    fn respond<'a>(&'a self, turn: &'a Turn) -> BoxFuture<'a, Result<(), AgentError>> {
        async {
            let elsewhere = GeneratedImage { id: "theirs".to_owned(), url: ELSEWHERE.to_owned() };
            let kept = turn.save_image("ours".to_owned(), "image/png", b"PNG").await?;
            for image in [elsewhere, kept] {
                let item = turn.new_item(ItemKind::GeneratedImage { image: Some(image.clone()) });
                let update = ItemUpdate::ImageUpdated { image, progress: None };
                turn.emit(AgentEvent::ItemAdded(Item::clone(&item))).await?;
                turn.emit(AgentEvent::ItemUpdated { item_id: item.id.clone(), update }).await?;
                turn.emit(AgentEvent::ItemDone(Item::clone(&item))).await?;
                turn.emit(AgentEvent::ItemReplaced(item)).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

/// Says something each time before it keeps an image: the turn stores the one while the agent
/// stores the other.
struct Hasty;

impl Agent for Hasty {
    fn respond<'a>(&'a self, turn: &'a Turn) -> BoxFuture<'a, Result<(), AgentError>> {
        async {
            for _ in 0..100 {
                turn.emit(AgentEvent::ItemDone(turn.new_item(ItemKind::EndOfTurn))).await?;
                let image = turn.save_image("ours".to_owned(), "image/png", b"PNG").await?;
                let kind = ItemKind::GeneratedImage { image: Some(image) };
                turn.emit(AgentEvent::ItemDone(turn.new_item(kind))).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

#[tokio::test]
async fn an_agent_and_its_turn_may_write_at_once() {
    let folder = std::env::temp_dir().join(format!("chatkit-hasty-{}", std::process::id()));
    let vars = vec![("CHATKIT_UPLOADS_DIR", folder.to_str().unwrap().to_owned())];
    let server =
        Server::start(Setup { agent: Some(Arc::new(Hasty)), vars, ..Setup::default() }).await;
    let events = server.user("ada").events(&create("draw")).await;
    let done = events.iter().filter(|event| event["type"] == "thread.item.done");
    assert_eq!(done.count(), 1 + 200, "{:?}", events.last());
    assert!(events.iter().all(|event| event["type"] != "error"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn an_image_that_is_kept_gets_a_link_wherever_it_goes_out_and_one_elsewhere_is_left_alone() {
    let folder = std::env::temp_dir().join(format!("chatkit-painter-{}", std::process::id()));
    let vars = vec![("CHATKIT_UPLOADS_DIR", folder.to_str().unwrap().to_owned())];
    let server =
        Server::start(Setup { agent: Some(Arc::new(Painter)), vars, ..Setup::default() }).await;
    let ada = server.user("ada");
    let events = ada.events(&create("draw")).await;
    let items = ada.items(&thread_of(&events)).await;
    let mut images: Vec<&Value> = items[1..].iter().map(|item| &item["image"]).collect();
    for event in &events {
        images.extend(
            [&event["item"]["image"], &event["update"]["image"]]
                .into_iter()
                .filter(|image| !image.is_null()),
        );
    }
    assert_eq!(images.len(), 2 + 8, "{events:?}");
    for image in images {
        let url = image["url"].as_str().unwrap();
        if image["id"] == json!("theirs") {
            assert_eq!(url, ELSEWHERE);
        } else {
            let shown = reqwest::get(url).await.unwrap();
            assert_eq!(
                (shown.status().as_u16(), &*shown.bytes().await.unwrap()),
                (200, &b"PNG"[..])
            );
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
