# The server in a small image: no shell, no package manager, not root.
# docker build -t chatkit-server . && docker run --env-file .env -p 8080:8080 -v chatkit-data:/data chatkit-server

# The images it is built from are named by tag, not by digest: a rebuild takes up the fixes of Debian's packages. Whoever needs the
# same bits each time pins both with `@sha256:…`.
FROM rust:1.95.0-bookworm AS build
WORKDIR /build

# The dependencies, compiled with a stand-in for our code: this layer stays cached until Cargo.toml or Cargo.lock changes.
# Our own artifacts go away again, because COPY keeps the files' times and cargo would take the stand-in for up to date.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
 && echo 'fn main() {}' > src/main.rs \
 && touch src/lib.rs \
 && cargo build --release --locked --bin chatkit-server \
 && cargo clean --release --locked -p chatkit-server \
 && rm -r src

COPY src ./src
COPY static ./static
RUN cargo build --release --locked --bin chatkit-server \
 && mkdir /data

# libc, libgcc and the CA certificates, which the calls to OpenAI need. Kubernetes believes in a user that is not root only when it is a number.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="chatkit-server" \
      org.opencontainers.image.description="A ChatKit backend in one binary: the chat itself or OpenAI's sessions, behind your own sign-in" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /build/target/release/chatkit-server /chatkit-server
# In self-hosted mode `data/` holds the database and the uploads. A new volume takes over who owns the folder.
COPY --from=build --chown=65532:65532 /data /data
WORKDIR /
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=3 CMD ["/chatkit-server", "healthcheck"]
ENTRYPOINT ["/chatkit-server"]
