//! The endpoints of files: one that takes them, one that gives them back.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};

use super::receive::{Limit, Received, receive};
use super::serve::serve;
use super::under_way::Passage;
use super::{Uploads, kind, name, not_written, quota_exceeded, too_large};
use crate::chatkit::links::{Base, LinkQuery, Purpose};
use crate::door::{ChatDoor, Holder};
use crate::error::{Error, ErrorBody, Kind};
use crate::extract::Json;
use crate::limits::client_ip::Client;
use crate::protocol::Attachment;
use crate::store::{Owner, StoredAttachment};
use crate::telemetry::request::RequestContext;

/// What the endpoints can reach.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct UploadDesk {
    /// Who may come in without a link.
    pub door: Arc<ChatDoor>,
    /// Where files go.
    pub uploads: Uploads,
}

/// The endpoints of files.
pub fn router(desk: UploadDesk) -> Router {
    Router::new()
        .route("/api/chatkit/upload", post(upload))
        .route("/api/chatkit/attachments/{id}", get(download))
        // The size of a body is counted as it comes in.
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(desk))
}

/// The form.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it documents the body, which `receive` reads")]
struct UploadForm {
    /// The file, with its name and its media type.
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    file: String,
}

/// The bytes of a file.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it documents the answer, which `serve` makes")]
#[schema(value_type = String, format = Binary)]
struct FileBytes(String);

/// How a request about a file may fail.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it documents the answers, which `Error` makes")]
enum Refusals {
    /// No credential and no link, or a credential that is not good.
    #[response(status = 401)]
    Unknown(ErrorBody<'static>),
    /// There is no such file for the caller, its link has expired, or this service takes no files
    /// and there is no link.
    #[response(status = 404)]
    Missing(ErrorBody<'static>),
    /// `rate_limited`: too many requests. Wait for `Retry-After` seconds.
    #[response(status = 429)]
    Limited(ErrorBody<'static>),
}

/// Takes a file. With the link of an `upload_descriptor` it is the one that was announced.
#[utoipa::path(
    post,
    path = "/api/chatkit/upload",
    tag = "attachments",
    params(
        ("attachment" = Option<String>, Query, description = "Of a link: which file"),
        ("expires" = Option<u64>, Query, description = "Of a link: its end, in seconds since the Unix epoch"),
        ("signature" = Option<String>, Query, description = "Of a link"),
    ),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "The file as messages name it", body = Attachment),
        (status = 408, description = "Nothing came for 30 seconds, or it comes too \
                                      slowly", body = ErrorBody),
        (status = 409, description = "`conflict`: the announced file has its bytes already, or \
                                      another upload of it is under way; or too many files wait to \
                                      be sent", body = ErrorBody),
        (status = 413, description = "`body_too_large` or `quota_exceeded`: the file is too large, \
                                      or the user would keep too much", body = ErrorBody),
        (status = 415, description = "`unsupported_media_type`: no form, or an image that is \
                                      none", body = ErrorBody),
        Refusals
    ),
    security((), ("client_secret" = []), ("user_token" = []), ("user_cookie" = []), ("visitor_cookie" = []))
)]
pub(crate) async fn upload(
    State(desk): State<Arc<UploadDesk>>,
    Extension(context): Extension<Arc<RequestContext>>,
    request: Request,
) -> Result<Json<Attachment>, Error> {
    let (parts, body) = request.into_parts();
    let expected = desk.expect(&parts, &context).await?;
    desk.take(expected, parts, body).await.map(Json)
}

/// Gives a file back, to whoever has a link or owns it.
#[utoipa::path(
    get,
    path = "/api/chatkit/attachments/{id}",
    tag = "attachments",
    params(
        ("id" = String, Path, description = "Which file"),
        ("expires" = Option<u64>, Query, description = "Of a link: its end, in seconds since the Unix epoch"),
        ("signature" = Option<String>, Query, description = "Of a link"),
    ),
    responses(
        (status = 200, description = "The file, in its own media type", content(
            (FileBytes = "image/png"), (FileBytes = "image/jpeg"), (FileBytes = "image/gif"), (FileBytes = "image/webp"),
            (FileBytes = "application/pdf"), (FileBytes = "application/octet-stream"), (FileBytes = "*/*"),
        )),
        (status = 206, description = "The part that `Range` names", content((FileBytes = "*/*"))),
        (status = 304, description = "The file has not changed"),
        (status = 412, description = "`precondition_failed`", body = ErrorBody),
        (status = 416, description = "The file has no such part", body = ErrorBody),
        Refusals
    ),
    security((), ("client_secret" = []), ("user_token" = []), ("user_cookie" = []), ("visitor_cookie" = []))
)]
pub(crate) async fn download(
    State(desk): State<Arc<UploadDesk>>,
    Extension(context): Extension<Arc<RequestContext>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Error> {
    let Path(id) = id.map_err(|_| missing())?;
    let (parts, body) = request.into_parts();
    let (stored, keep) = desk.find(&id, &parts, &context).await?;
    let path = desk.uploads.files.path(&id).ok_or_else(missing)?;
    serve(Request::from_parts(parts, body), &path, &stored.attachment, keep, missing()).await
}

/// A file that may come in.
struct Expected {
    owner: Owner,
    announced: Option<StoredAttachment>,
    base: Base,
    limit: Limit,
    /// Its place among what is under way.
    passage: Passage,
}

impl UploadDesk {
    /// Says whose file comes in, and which one it is if it was announced.
    async fn expect(&self, parts: &Parts, context: &RequestContext) -> Result<Expected, Error> {
        self.uploads.require_enabled()?;
        let client = parts.extensions.get::<Client>().copied();
        let client = client.ok_or_else(|| Error::internal("the client was not identified"))?;
        let base = Base::of(client, &parts.headers)?;
        let (owner, announced) = match LinkQuery::parse(parts.uri.query()) {
            Some(link) => {
                let (owner, announced) = self.announced(&link).await?;
                context.note_user(&owner.user);
                self.door.limits.count_user(&owner.user, context).await?;
                if announced.is_uploaded {
                    return Err(already_there());
                }
                (owner, Some(announced))
            }
            None => (self.owner(parts, context).await?, None),
        };
        let limit = self.limit(&owner, announced.as_ref()).await?;
        let id = announced.as_ref().map(|announced| &announced.attachment.id);
        let bytes = limit.announced(parts)?.unwrap_or(limit.most);
        let passage = self.uploads.under_way.begin(&owner.user, id, bytes)?;
        Ok(Expected { owner, announced, base, limit, passage })
    }

    /// The file of a link.
    async fn announced(&self, link: &LinkQuery) -> Result<(Owner, StoredAttachment), Error> {
        let id = link.attachment.as_deref().ok_or_else(missing)?;
        self.uploads.links.time_left(Purpose::Upload, id, link).ok_or_else(missing)?;
        self.uploads.store.linked_attachment(id).await?.ok_or_else(missing)
    }

    /// How large a file may be: as it was announced, or what its user may still keep.
    async fn limit(
        &self,
        owner: &Owner,
        announced: Option<&StoredAttachment>,
    ) -> Result<Limit, Error> {
        let Uploads { config, under_way, .. } = &self.uploads;
        if let Some(announced) = announced {
            let most = announced.size.min(config.max_bytes);
            return Ok(Limit { most, refusal: too_large(most) });
        }
        let kept = self.uploads.kept(owner).await?.saturating_add(under_way.unknown(&owner.user));
        Ok(match config.quota {
            Some(quota) if quota.saturating_sub(kept) < config.max_bytes => {
                Limit { most: quota.saturating_sub(kept), refusal: quota_exceeded(quota) }
            }
            _ => Limit { most: config.max_bytes, refusal: too_large(config.max_bytes) },
        })
    }

    async fn take(
        &self,
        expected: Expected,
        parts: Parts,
        body: Body,
    ) -> Result<Attachment, Error> {
        let Expected { owner, announced, base, limit, passage } = expected;
        let received = receive(&self.uploads.files, parts, body, &limit).await?;
        // A client that leaves does not stop it half-way.
        let uploads = self.uploads.clone();
        let keeping = async move {
            let kept = keep(&uploads, &owner, announced, received).await;
            drop(passage);
            kept
        };
        let kept = self.uploads.tasks.spawn(keeping).await.map_err(Error::internal)?;
        let mut attachment = kept?.attachment;
        self.uploads.present(&mut attachment, &base);
        Ok(attachment)
    }

    /// The file that is asked for, and how long a browser may keep it.
    async fn find(
        &self,
        id: &str,
        parts: &Parts,
        context: &RequestContext,
    ) -> Result<(StoredAttachment, Option<Duration>), Error> {
        let (found, keep) = match LinkQuery::parse(parts.uri.query()) {
            Some(link) => {
                let left = self.uploads.links.time_left(Purpose::View, id, &link);
                let left =
                    left.ok_or_else(|| self.door.strangers_answer(parts, context, missing()))?;
                let found = self.uploads.store.linked_attachment(id).await?;
                (found.map(|(_, stored)| stored), Some(left))
            }
            // Where there are no uploads, links lead to what agents made.
            None => {
                let enabled = self.uploads.require_enabled();
                enabled.map_err(|error| self.door.strangers_answer(parts, context, error))?;
                let holder = self.door.known_holder(parts, context).await?;
                self.door.count_read(&holder, context).await?;
                let owner = Owner { workflow: holder.workflow.into(), user: holder.user };
                (self.uploads.store.attachment(&owner, id).await?, None)
            }
        };
        let stored = found.filter(|stored| stored.is_uploaded).ok_or_else(missing)?;
        Ok((stored, keep))
    }

    async fn owner(&self, parts: &Parts, context: &RequestContext) -> Result<Owner, Error> {
        let holder = self.door.holder(parts, context).await?;
        self.counted(holder, context).await
    }

    async fn counted(&self, holder: Holder, context: &RequestContext) -> Result<Owner, Error> {
        self.door.count(&holder, context).await?;
        Ok(Owner { workflow: holder.workflow.into(), user: holder.user })
    }
}

/// Notes what has come in, and puts the bytes in their place. The note comes first: of several
/// uploads of one announced file, on several replicas too, one alone gets it, so that size, type
/// and bytes are of the same.
async fn keep(
    uploads: &Uploads,
    owner: &Owner,
    announced: Option<StoredAttachment>,
    received: Received,
) -> Result<StoredAttachment, Error> {
    let stored = match announced {
        Some(announced) => {
            let stored = typed(announced, &received)?;
            if !uploads.store.complete_attachment(owner, &stored).await? {
                // It may have been deleted, too, while it came in.
                let still = uploads.store.attachment(owner, &stored.attachment.id).await?;
                return Err(still.map_or_else(missing, |_| already_there()));
            }
            stored
        }
        None => {
            let said = kind::declared(received.declared.as_deref().unwrap_or_default())?;
            let fresh = uploads.describe(name::clean(&received.name), said, received.size);
            let stored = typed(fresh, &received)?;
            uploads.kept(owner).await?;
            uploads.add(owner, &stored).await?;
            stored
        }
    };
    if let Err(error) = received.file.rename(&uploads.files, &stored.attachment.id).await {
        uploads.store.delete_attachment(owner, &stored.attachment.id).await?;
        return Err(not_written(error));
    }
    Ok(stored)
}

/// A file with the size and the type that its bytes have, which are there.
fn typed(mut stored: StoredAttachment, received: &Received) -> Result<StoredAttachment, Error> {
    stored.is_uploaded = true;
    stored.attachment.mime_type = kind::of_content(&received.head, &stored.attachment.mime_type)?;
    stored.attachment.kind = kind::announced(&stored.attachment.mime_type);
    stored.size = received.size;
    Ok(stored)
}

/// The same for a file that is missing, of somebody else, or behind a link that is no good.
fn missing() -> Error {
    Error::new(Kind::NotFound, "There is no such attachment, or its link has expired.")
}

fn already_there() -> Error {
    Error::new(Kind::Conflict, "This attachment has its bytes already. Create another one.")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use utoipa::OpenApi;

    use super::*;

    #[derive(OpenApi)]
    #[openapi(paths(upload, download), components(schemas(ErrorBody)))]
    struct Endpoints;

    #[test]
    fn the_document_asks_for_a_form_with_a_file_and_lets_a_link_do_without_a_credential() {
        let document = crate::openapi::to_json(&Endpoints::openapi(), None);
        let document: Value = serde_json::from_str(&document).unwrap();
        let upload = &document["paths"]["/api/chatkit/upload"]["post"];
        assert_eq!(upload["requestBody"]["required"], true, "{upload}");
        let form = &upload["requestBody"]["content"]["multipart/form-data"]["schema"]["$ref"];
        let form = document.pointer(form.as_str().unwrap().trim_start_matches('#')).unwrap();
        assert_eq!(form["required"], serde_json::json!(["file"]));
        let answer = &upload["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
        assert_eq!(answer, "#/components/schemas/Attachment");
        let download = &document["paths"]["/api/chatkit/attachments/{id}"]["get"];
        for operation in [upload, download] {
            assert_eq!(operation["security"][0], serde_json::json!({}), "{operation}");
        }
    }
}
