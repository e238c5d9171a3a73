//! The gRPC server: the sidecar's service, health, and reflection in both versions that tools speak.

use mainstay_proto::DESCRIPTORS;
use mainstay_proto::pb::agent_sidecar_server::AgentSidecarServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::pb::health_server::{Health, HealthServer};

use crate::service::Face;
use crate::sidecar::RunError;

/// What a message needs beside its payload: ids, intent, and the outcome's warnings.
const ENVELOPE: usize = 64 * 1024;

/// The largest message, for payloads of at most `max_payload` bytes.
pub(crate) const fn message_limit(max_payload: usize) -> usize {
    max_payload + ENVELOPE
}

/// Serves until `stop` turns true, then until every connection has ended.
pub(crate) async fn serve(
    listener: TcpListener,
    face: AgentSidecarServer<Face>,
    health: HealthServer<impl Health>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), RunError> {
    let reflection =
        || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
    let stopped = async move {
        // An error means that the sender is gone, which is the same.
        drop(stop.wait_for(|stop| *stop).await);
    };
    let mut router = Server::builder().add_service(face).add_service(health);
    if let Ok(service) = reflection().build_v1() {
        router = router.add_service(service);
    }
    if let Ok(service) = reflection().build_v1alpha() {
        router = router.add_service(service);
    }
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(router.serve_with_incoming_shutdown(incoming, stopped).await?)
}
