//! What the README shows is tried as it stands there.

use crate::process::TempFolder;
use crate::support::server::TestServer;

#[tokio::test]
async fn the_agents_of_the_readme_start_as_pasted() {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let agents = blocks.filter(|block| block.contains("[agents.")).collect::<Vec<_>>();
    assert!(!agents.is_empty(), "the README shows agents");
    let folder = TempFolder::new("readme-agents");
    for block in agents {
        let path = folder.write("agents.toml", block);
        let server = TestServer::self_hosted(&[("CHATKIT_AGENTS", &path), ("CHATKIT_MODEL", "")]);
        assert_eq!(server.get("/readyz").send().await.expect("an answer").status(), 200);
    }
}
