//! The standard health service, `grpc.health.v1`, as its specification has it.
//!
//! `tonic-health` refuses to watch a service it does not know. The specification says that such a watch is accepted and
//! starts with `SERVICE_UNKNOWN`, so that a client may begin to watch before the service is there; this wrapper does that.

use std::pin::Pin;

use futures::stream::{self, Stream, StreamExt};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
pub use tonic_health::server::HealthReporter;

/// The health service over what a [`HealthReporter`] is told.
#[derive(Debug)]
pub struct Standard<H>(H);

/// A reporter, and the service that shows what it is told. Nothing is serving until the reporter says so.
#[must_use]
pub fn service() -> (HealthReporter, HealthServer<Standard<impl Health>>) {
    let reporter = HealthReporter::new();
    let inner = tonic_health::server::HealthService::from_health_reporter(reporter.clone());
    (reporter, HealthServer::new(Standard(inner)))
}

#[tonic::async_trait]
impl<H: Health> Health for Standard<H> {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.0.check(request).await
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        match self.0.watch(request).await {
            Ok(stream) => Ok(Response::new(stream.into_inner().boxed())),
            Err(status) if status.code() == Code::NotFound => {
                let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
                // Services are registered before the server listens, so it stays unknown.
                let stream = stream::iter([Ok(unknown)]).chain(stream::pending());
                Ok(Response::new(stream.boxed()))
            }
            Err(status) => Err(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.to_owned() })
    }

    #[tokio::test]
    async fn a_watch_of_an_unknown_service_starts_with_service_unknown() {
        let health =
            Standard(tonic_health::server::HealthService::from_health_reporter(HealthReporter::new()));
        let mut stream = health.watch(ask("nobody")).await.unwrap().into_inner();
        assert_eq!(stream.next().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
        assert_eq!(health.check(ask("nobody")).await.unwrap_err().code(), Code::NotFound);
    }

    #[tokio::test]
    async fn a_watch_of_a_known_service_follows_it() {
        let reporter = HealthReporter::new();
        let health = Standard(tonic_health::server::HealthService::from_health_reporter(reporter.clone()));
        reporter.set_service_status("known", tonic_health::ServingStatus::NotServing).await;
        let mut stream = health.watch(ask("known")).await.unwrap().into_inner();
        assert_eq!(stream.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        reporter.set_service_status("known", tonic_health::ServingStatus::Serving).await;
        assert_eq!(stream.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    }
}
