//! What `tonic-build` makes of a service with one method, written by hand, so that nobody needs
//! `protoc`: `rpc Cancel(text) returns (text)`.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{self, StdError};
use tonic::server::{NamedService, UnaryService};
use tonic::{Request, Response, Status};

const CANCEL: &str = "/shop.Orders/Cancel";

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The service.
pub(crate) trait Orders: Send + Sync + 'static {
    fn cancel(
        &self,
        request: Request<String>,
    ) -> impl Future<Output = Result<Response<String>, Status>> + Send;
}

/// Serves it.
pub(crate) struct OrdersServer<O>(Arc<O>);

impl<O> OrdersServer<O> {
    pub(crate) fn new(orders: O) -> Self {
        Self(Arc::new(orders))
    }
}

impl<O> Clone for OrdersServer<O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<O> NamedService for OrdersServer<O> {
    const NAME: &'static str = "shop.Orders";
}

impl<O: Orders> tower::Service<http::Request<Body>> for OrdersServer<O> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                CANCEL => tonic::server::Grpc::new(Text).unary(method, request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

impl<O: Orders> UnaryService<String> for OrdersServer<O> {
    type Response = String;
    type Future = Answer<Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let orders = Arc::clone(&self.0);
        Box::pin(async move { orders.cancel(request).await })
    }
}

/// Calls it.
pub(crate) struct OrdersClient<T>(tonic::client::Grpc<T>);

impl<T, B> OrdersClient<T>
where
    T: GrpcService<Body, ResponseBody = B>,
    T::Error: Into<StdError>,
    B: codegen::Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
{
    pub(crate) fn with_origin(service: T, origin: http::Uri) -> Self {
        Self(tonic::client::Grpc::with_origin(service, origin))
    }

    pub(crate) async fn cancel(&mut self, order: &str) -> Result<Response<String>, Status> {
        let ready = self.0.ready().await;
        ready.map_err(|error| Status::from_error(error.into()))?;
        let request = Request::new(order.to_owned());
        let path = PathAndQuery::from_static(CANCEL);
        self.0.unary(request, path, Text).await
    }
}

/// Messages of plain text.
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining()).to_vec();
        let text = String::from_utf8(bytes);
        text.map(Some)
            .map_err(|_| Status::invalid_argument("not UTF-8"))
    }
}
