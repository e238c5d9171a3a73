//! What keeps a sidecar from starting, and what it serves once it has.

use std::path::Path;

use mainstay_sidecar::{Manifest, Options, Sidecar, StartError};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::harness::{options, start};

const ECHO: &str = "
name: echo
control_plane: http://127.0.0.1:1
adapter: { echo: {} }
capabilities: [ { name: echo, effect: read-only } ]
";

async fn refused(options: Options) -> String {
    let error: StartError = Sidecar::bind(options).await.expect_err("it should not start");
    error.to_string()
}

#[tokio::test]
async fn each_mistake_names_its_setting() {
    let taken = Sidecar::bind(options(ECHO)).await.unwrap();
    let listen = |address: &str| Options { listen: Some(address.parse().unwrap()), ..options(ECHO) };
    let side_effecting = options(&ECHO.replace("read-only", "side-effecting"));
    let file = tempfile::NamedTempFile::new().unwrap();
    let unusable = Options { data: Some(file.path().to_owned()), ..side_effecting.clone() };
    let cases = [
        (listen("0.0.0.0:0"), "listen: 0.0.0.0:0 is not a loopback address"),
        (listen(&taken.local_addr().to_string()), "listen: 127.0.0.1:"),
        (Options { insecure_listen: true, ..listen("0.0.0.0:0") }, "advertise: is missing"),
        (
            Options { advertise: Some("there".into()), ..options(ECHO) },
            "advertise: is \"there\"; write a URL",
        ),
        (
            Options { control_plane: Some("there".into()), ..options(ECHO) },
            "control_plane: is \"there\"; write a URL",
        ),
        (Options { instance: Some("Left".into()), ..options(ECHO) }, "instance: has 'L' at byte 0"),
        (side_effecting, "data: is missing; capability echo is side-effecting"),
        (unusable, "data: /"),
    ];
    for (options, expected) in cases {
        let error = refused(options).await;
        assert!(error.starts_with(expected), "{expected:?}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_given_beside_the_manifest_comes_first() {
    let manifest =
        Manifest::parse(&ECHO.replacen("name: echo", "name: echo\ninstance: left", 1), Path::new("."))
            .unwrap();
    let options = Options {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        instance: Some("right".to_owned()),
        ..Options::new(manifest)
    };
    assert_eq!(Sidecar::bind(options.clone()).await.unwrap().instance().as_str(), "right");
    let options = Options { instance: None, ..options };
    assert_eq!(Sidecar::bind(options).await.unwrap().instance().as_str(), "left");
}

#[tokio::test]
async fn an_agent_without_side_effects_needs_no_folder_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { data: Some(folder.path().join("data")), ..options(ECHO) };
    drop(Sidecar::bind(options).await.unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn reflection_lists_the_services() {
    let sidecar = start(ECHO).await;
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { host: String::new(), message_request };
    let mut client = ServerReflectionClient::new(sidecar.channel.clone());
    let stream = client.server_reflection_info(futures::stream::iter([request])).await.unwrap();
    let response = stream.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = response.message_response else {
        panic!("{response:?}")
    };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"mainstay.v1.AgentSidecar"), "{names:?}");
    sidecar.stop().await;
}
