//! The named interop cases of gRPC by tonic, one a run:
//! `interop --server_host=HOST --server_port=PORT --test_case=CASE --use_tls=BOOL --ca_file=PEM`.

use std::time::Duration;

use lexopt::prelude::*;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

mod proto {
    #![allow(clippy::pedantic)]
    tonic::include_proto!("grpc.testing");
}

use proto::test_service_client::TestServiceClient;
use proto::unimplemented_service_client::UnimplementedServiceClient;
use proto::{
    BoolValue, EchoStatus, Empty, Payload, ResponseParameters, SimpleRequest, StreamingInputCallRequest,
    StreamingOutputCallRequest,
};

const REQUEST_SIZE: usize = 271_828;
const RESPONSE_SIZE: i32 = 314_159;
const REQUEST_SIZES: [usize; 4] = [27_182, 8, 1_828, 45_904];
const RESPONSE_SIZES: [i32; 4] = [31_415, 9, 2_653, 58_979];
const SPECIAL: &str = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
const SOAK: usize = 20;

type Client = TestServiceClient<Channel>;
type Outcome = Result<(), Box<dyn std::error::Error>>;

macro_rules! check {
    ($holds:expr, $($said:tt)*) => {
        if !$holds {
            return Err(format!($($said)*).into());
        }
    };
}

#[allow(clippy::unnecessary_wraps)] // As messages have it.
fn payload(size: usize) -> Option<Payload> {
    Some(Payload { r#type: 0, body: vec![0; size] })
}

fn large() -> SimpleRequest {
    SimpleRequest { response_size: RESPONSE_SIZE, payload: payload(REQUEST_SIZE), ..SimpleRequest::default() }
}

fn sizes(asked: &[i32]) -> Vec<ResponseParameters> {
    asked.iter().map(|&size| ResponseParameters { size, ..ResponseParameters::default() }).collect()
}

fn body_is_large(found: Option<&Payload>) -> Outcome {
    let size = found.map_or(0, |payload| payload.body.len());
    check!(i32::try_from(size)? == RESPONSE_SIZE, "the payload has {size} bytes, not {RESPONSE_SIZE}");
    check!(found.is_some_and(|payload| payload.body.iter().all(|&byte| byte == 0)), "the payload is not all zeros");
    Ok(())
}

/// The call failed, and so.
fn failed<T>(outcome: Result<T, Status>, code: Code, message: Option<&str>) -> Outcome {
    let Err(status) = outcome else {
        return Err(format!("the call succeeded instead of ending with {code:?}").into());
    };
    check!(status.code() == code, "the call ended with {status:?} instead of {code:?}");
    if let Some(message) = message {
        check!(status.message() == message, "the message is {:?}, not {message:?}", status.message());
    }
    Ok(())
}

async fn empty_unary(mut client: Client) -> Outcome {
    client.empty_call(Empty {}).await?;
    Ok(())
}

async fn large_unary(mut client: Client) -> Outcome {
    let response = client.unary_call(large()).await?.into_inner();
    body_is_large(response.payload.as_ref())
}

async fn client_streaming(mut client: Client) -> Outcome {
    let requests = REQUEST_SIZES
        .map(|size| StreamingInputCallRequest { payload: payload(size), ..StreamingInputCallRequest::default() });
    let total = client.streaming_input_call(tokio_stream::iter(requests)).await?.into_inner().aggregated_payload_size;
    check!(total == 74_922, "the total is {total}");
    Ok(())
}

async fn server_streaming(mut client: Client) -> Outcome {
    let request = StreamingOutputCallRequest {
        response_parameters: sizes(&RESPONSE_SIZES),
        ..StreamingOutputCallRequest::default()
    };
    let responses: Vec<_> = client.streaming_output_call(request).await?.into_inner().collect().await;
    check!(responses.len() == RESPONSE_SIZES.len(), "{} responses came", responses.len());
    for (response, asked) in responses.into_iter().zip(RESPONSE_SIZES) {
        let size = response?.payload.unwrap_or_default().body.len();
        check!(i32::try_from(size)? == asked, "{size} bytes came instead of {asked}");
    }
    Ok(())
}

async fn ping_pong(mut client: Client) -> Outcome {
    let (sender, receiver) = mpsc::channel(1);
    let call = client.full_duplex_call(ReceiverStream::new(receiver));
    let ask = |index: usize| StreamingOutputCallRequest {
        response_parameters: sizes(&RESPONSE_SIZES[index..=index]),
        payload: payload(REQUEST_SIZES[index]),
        ..StreamingOutputCallRequest::default()
    };
    sender.send(ask(0)).await?;
    let mut responses = call.await?.into_inner();
    for (index, &asked) in RESPONSE_SIZES.iter().enumerate() {
        if index > 0 {
            sender.send(ask(index)).await?;
        }
        let response = responses.message().await?.ok_or("the answers ended early")?;
        let size = response.payload.unwrap_or_default().body.len();
        check!(i32::try_from(size)? == asked, "{size} bytes came instead of {asked}");
    }
    drop(sender);
    check!(responses.message().await?.is_none(), "there is an answer too many");
    Ok(())
}

async fn empty_stream(mut client: Client) -> Outcome {
    let mut responses = client.full_duplex_call(tokio_stream::empty()).await?.into_inner();
    check!(responses.message().await?.is_none(), "there is an answer");
    Ok(())
}

fn dressed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("x-grpc-test-echo-initial", MetadataValue::from_static("test_initial_metadata_value"));
    metadata.insert_bin("x-grpc-test-echo-trailing-bin", MetadataValue::from_bytes(b"\xab\xab\xab"));
    request
}

fn has_initial(metadata: &MetadataMap) -> Outcome {
    let found = metadata.get("x-grpc-test-echo-initial");
    check!(found.is_some_and(|value| value == "test_initial_metadata_value"), "the initial metadata has {found:?}");
    Ok(())
}

fn has_trailing(metadata: &MetadataMap) -> Outcome {
    let found = metadata.get_bin("x-grpc-test-echo-trailing-bin").map(MetadataValue::to_bytes).transpose()?;
    check!(found.as_deref() == Some(b"\xab\xab\xab".as_slice()), "the trailing metadata has {found:?}");
    Ok(())
}

async fn custom_metadata(mut client: Client) -> Outcome {
    // A unary answer of tonic has both in one map.
    let answer = client.unary_call(dressed(large())).await?;
    has_initial(answer.metadata())?;
    has_trailing(answer.metadata())?;

    let ask = StreamingOutputCallRequest {
        response_parameters: sizes(&[RESPONSE_SIZE]),
        payload: payload(REQUEST_SIZE),
        ..StreamingOutputCallRequest::default()
    };
    let answer = client.full_duplex_call(dressed(tokio_stream::once(ask))).await?;
    has_initial(answer.metadata())?;
    let mut responses = answer.into_inner();
    while responses.message().await?.is_some() {}
    has_trailing(&responses.trailers().await?.ok_or("there are no trailers")?)
}

async fn status_code_and_message(mut client: Client) -> Outcome {
    let status = Some(EchoStatus { code: 2, message: "test status message".into() });
    let request = SimpleRequest { response_status: status.clone(), ..SimpleRequest::default() };
    failed(client.unary_call(request).await, Code::Unknown, Some("test status message"))?;

    let request = StreamingOutputCallRequest { response_status: status, ..StreamingOutputCallRequest::default() };
    let outcome = match client.full_duplex_call(tokio_stream::once(request)).await {
        Ok(answer) => answer.into_inner().message().await,
        Err(status) => Err(status),
    };
    failed(outcome, Code::Unknown, Some("test status message"))
}

async fn special_status_message(mut client: Client) -> Outcome {
    let status = Some(EchoStatus { code: 2, message: SPECIAL.into() });
    let request = SimpleRequest { response_status: status, ..SimpleRequest::default() };
    failed(client.unary_call(request).await, Code::Unknown, Some(SPECIAL))
}

async fn unimplemented_method(mut client: Client) -> Outcome {
    failed(client.unimplemented_call(Empty {}).await, Code::Unimplemented, None)
}

async fn unimplemented_service(channel: Channel) -> Outcome {
    let mut client = UnimplementedServiceClient::new(channel);
    failed(client.unimplemented_call(Empty {}).await, Code::Unimplemented, None)
}

async fn timeout_on_sleeping_server(mut client: Client) -> Outcome {
    let (sender, receiver) = mpsc::channel(1);
    let ask = StreamingOutputCallRequest { payload: payload(27_182), ..StreamingOutputCallRequest::default() };
    sender.send(ask).await?;
    let mut request = Request::new(ReceiverStream::new(receiver));
    request.set_timeout(Duration::from_millis(1));
    let outcome = match client.full_duplex_call(request).await {
        Ok(answer) => answer.into_inner().message().await,
        Err(status) => Err(status),
    };
    failed(outcome, Code::DeadlineExceeded, None)
}

async fn client_compressed_unary(mut client: Client) -> Outcome {
    let ask = |value| SimpleRequest { expect_compressed: Some(BoolValue { value }), ..large() };
    failed(client.unary_call(ask(true)).await, Code::InvalidArgument, None)?;
    let answer = client.clone().send_compressed(Gzip).unary_call(ask(true)).await?.into_inner();
    body_is_large(answer.payload.as_ref())?;
    let answer = client.unary_call(ask(false)).await?.into_inner();
    body_is_large(answer.payload.as_ref())
}

async fn server_compressed_unary(client: Client) -> Outcome {
    let mut client = client.accept_compressed(Gzip);
    for value in [true, false] {
        let request = SimpleRequest { response_compressed: Some(BoolValue { value }), ..large() };
        let answer = client.unary_call(request).await?;
        let encoding = answer.metadata().get("grpc-encoding").cloned();
        check!(encoding.is_some_and(|name| name == "gzip") == value, "compressed is not {value}");
        body_is_large(answer.into_inner().payload.as_ref())?;
    }
    Ok(())
}

async fn server_compressed_streaming(client: Client) -> Outcome {
    let asked = [(true, 31_415), (false, 92_653)];
    let response_parameters = asked.map(|(value, size)| ResponseParameters {
        size,
        compressed: Some(BoolValue { value }),
        ..Default::default()
    });
    let request = StreamingOutputCallRequest {
        response_parameters: response_parameters.to_vec(),
        ..StreamingOutputCallRequest::default()
    };
    let answer = client.accept_compressed(Gzip).streaming_output_call(request).await?;
    let encoding = answer.metadata().get("grpc-encoding").cloned();
    check!(encoding.is_some_and(|name| name == "gzip"), "the answers are not compressed");
    let mut responses = answer.into_inner();
    for (_, size) in asked {
        let response = responses.message().await?.ok_or("the answers ended early")?;
        let found = response.payload.unwrap_or_default().body.len();
        check!(i32::try_from(found)? == size, "{found} bytes came instead of {size}");
    }
    check!(responses.message().await?.is_none(), "there is an answer too many");
    Ok(())
}

async fn run(case: &str, endpoint: &Endpoint) -> Outcome {
    let channel = endpoint.connect().await?;
    let client = TestServiceClient::new(channel.clone());
    match case {
        "empty_unary" => empty_unary(client).await,
        "large_unary" => large_unary(client).await,
        "client_streaming" => client_streaming(client).await,
        "server_streaming" => server_streaming(client).await,
        "ping_pong" => ping_pong(client).await,
        "empty_stream" => empty_stream(client).await,
        "custom_metadata" => custom_metadata(client).await,
        "status_code_and_message" => status_code_and_message(client).await,
        "special_status_message" => special_status_message(client).await,
        "unimplemented_method" => unimplemented_method(client).await,
        "unimplemented_service" => unimplemented_service(channel).await,
        "timeout_on_sleeping_server" => timeout_on_sleeping_server(client).await,
        "client_compressed_unary" => client_compressed_unary(client).await,
        "server_compressed_unary" => server_compressed_unary(client).await,
        "server_compressed_streaming" => server_compressed_streaming(client).await,
        "rpc_soak" => {
            for _ in 0..SOAK {
                large_unary(client.clone()).await?;
            }
            Ok(())
        }
        "channel_soak" => {
            for _ in 0..SOAK {
                large_unary(TestServiceClient::new(endpoint.connect().await?)).await?;
            }
            Ok(())
        }
        _ => Err(format!("there is no case {case}").into()),
    }
}

#[tokio::main]
async fn main() -> Outcome {
    let (mut host, mut port, mut case, mut tls, mut roots) = (String::new(), 0_u16, String::new(), false, None);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("server_host") => host = arguments.value()?.string()?,
            Long("server_port") => port = arguments.value()?.parse()?,
            Long("test_case") => case = arguments.value()?.string()?,
            Long("use_tls") => tls = arguments.value()?.parse()?,
            Long("ca_file") => roots = Some(arguments.value()?.string()?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let scheme = if tls { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{host}:{port}"))?;
    if tls {
        let roots = std::fs::read(roots.ok_or("--use_tls=true needs --ca_file")?)?;
        endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(roots)))?;
    }
    run(&case, &endpoint).await
}
