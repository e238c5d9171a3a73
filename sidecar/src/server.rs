//! What is served: the sidecar's service, health, and reflection in both versions that tools speak.

use std::time::Duration;

use mainstay_proto::DESCRIPTORS;
use mainstay_proto::pb::agent_sidecar_server::AgentSidecarServer;
use mainstay_transport::server::{self, Options};
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};

use crate::service::Face;

/// What a message needs beside its payload: ids, intent, and the outcome's warnings.
const ENVELOPE: usize = 64 * 1024;
/// How long calls may take to close once all work is done: peers that ignore the farewell are not waited for.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Serves until `shutdown` resolves, then until every call has ended, but not for long.
pub(crate) async fn serve(
    listener: TcpListener,
    face: Face,
    health: HealthServer<impl Health>,
    max_payload: usize,
    shutdown: impl Future<Output = ()>,
) {
    let limit = max_payload + ENVELOPE;
    let face = AgentSidecarServer::new(face)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(limit)
        .max_encoding_message_size(limit);
    let reflection =
        || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
    let mut routes = Routes::new(face).add_service(health);
    // Descriptors that came out of our own build are well-formed; without them everything but reflection works.
    if let Ok(service) = reflection().build_v1() {
        routes = routes.add_service(service);
    }
    if let Ok(service) = reflection().build_v1alpha() {
        routes = routes.add_service(service);
    }
    let options = Options { shutdown_grace: CLOSE_WITHIN, ..Options::default() };
    let report = server::serve(listener, routes.prepare(), options, shutdown).await;
    tracing::debug!(?report, "stopped serving");
}
