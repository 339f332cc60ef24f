//! What becomes of an image that the model made? Its bytes become a file, and its item leads there.

use data_encoding::BASE64;

use super::answer::Drawing;
use crate::agent::{AgentError, AgentEvent, Turn};
use crate::protocol::{Item, ItemKind};

impl Drawing {
    /// Keeps the bytes, and says that the item is done. What is no base64 is no image: it is
    /// logged, and the answer goes on.
    ///
    /// # Errors
    /// When the bytes can't be kept, or the turn is over.
    pub(super) async fn show(self, turn: &Turn) -> Result<(), AgentError> {
        let Self { item, id, b64, format } = self;
        let bytes = match BASE64.decode(b64.as_bytes()) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%error, "the model made an image that can't be read");
                return Ok(());
            }
        };
        drop(b64);
        let image = turn.save_image(id.to_string(), media_type(&format), &bytes).await?;
        let kind = ItemKind::GeneratedImage { image: Some(image) };
        turn.emit(AgentEvent::ItemDone(Item { kind, ..item })).await
    }
}

/// A server that says nothing, or something else, makes PNG, as OpenAI's does.
fn media_type(format: &str) -> &'static str {
    match format {
        "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        _ => "image/png",
    }
}
