//! What telemetry is called: attributes of spans and fields of events as code spells them, values of which there are few, metrics as they
//! are on the page, and the messages of events. `cargo xtask registry` writes this file from `observability/registry`.
//!
//! Long because each name has a sentence.

/// Attributes of spans, fields of events, labels of metrics.
pub mod attribute {
    /// From when on a key signs. Type: string.
    pub const ACTIVE_FROM: &str = "active_from";
    /// An address of ours, or of a service behind. Type: string.
    pub const ADDRESS: &str = "address";
    /// The operators' listener. Type: string.
    pub const ADMIN: &str = "admin";
    /// What a webhook's endpoint answered. Type: string.
    pub const ANSWER: &str = "answer";
    /// How many attempts there were. Type: int.
    pub const ATTEMPTS: &str = "attempts";
    /// Where a panic came from. Type: string.
    pub const BACKTRACE: &str = "backtrace";
    /// How long something was waited for. Type: string.
    pub const BOUND: &str = "bound";
    /// Calls to that service under way when this one was made. Type: int.
    pub const BULKHEAD_IN_FLIGHT: &str = "bulkhead.in_flight";
    /// How many calls. Type: int.
    pub const CALLS: &str = "calls";
    /// Why a saga cannot go on. Type: string.
    pub const CAUSE: &str = "cause";
    /// Where the breaker stood before the change. Type: string.
    pub const CIRCUIT_BREAKER_BEFORE: &str = "circuit_breaker.before";
    /// Where the breaker stood when the call was made, or stands since the change. Type: enum.
    pub const CIRCUIT_BREAKER_STATE: &str = "circuit_breaker.state";
    /// A client of the token service. Type: string.
    pub const CLIENT: &str = "client";
    /// Where the caller is, as far as it is known. Type: string.
    pub const CLIENT_ADDRESS: &str = "client.address";
    /// The client that a service is. Type: string.
    pub const CLIENT_ID: &str = "client_id";
    /// The code of a refusal. Type: string.
    pub const CODE: &str = "code";
    /// Whose schema it is. Type: string.
    pub const COMPONENT: &str = "component";
    /// What was switched. Type: string.
    pub const CONFIG: &str = "config";
    /// How many connections. Type: int.
    pub const CONNECTIONS: &str = "connections";
    /// How many connections there may be. Type: int.
    pub const CONNECTIONS_MAX: &str = "connections_max";
    /// How many. Type: int.
    pub const COUNT: &str = "count";
    /// The currency. Type: string.
    pub const CURRENCY: &str = "currency";
    /// The table or collection. Type: string.
    pub const DB_COLLECTION_NAME: &str = "db.collection.name";
    /// The database. Type: string.
    pub const DB_NAMESPACE: &str = "db.namespace";
    /// How many operations went together. Type: int.
    pub const DB_OPERATION_BATCH_SIZE: &str = "db.operation.batch.size";
    /// What was done. Type: string.
    pub const DB_OPERATION_NAME: &str = "db.operation.name";
    /// The statement in a few words. Type: string.
    pub const DB_QUERY_SUMMARY: &str = "db.query.summary";
    /// The statement, without values. Type: string.
    pub const DB_QUERY_TEXT: &str = "db.query.text";
    /// The database's own code of an error. Type: string.
    pub const DB_RESPONSE_STATUS_CODE: &str = "db.response.status_code";
    /// Which database it is. Type: string.
    pub const DB_SYSTEM_NAME: &str = "db.system.name";
    /// The deployment. Type: string.
    pub const DEPLOYMENT_ENVIRONMENT_NAME: &str = "deployment.environment.name";
    /// Whether a user is locked. Type: boolean.
    pub const DISABLED: &str = "disabled";
    /// How long requests are still accepted. Type: string.
    pub const DRAIN_DELAY: &str = "drain_delay";
    /// How long it took, in milliseconds. Type: double.
    pub const DURATION_MS: &str = "duration_ms";
    /// How long it took. Type: string.
    pub const ELAPSED: &str = "elapsed";
    /// An endpoint of webhooks. Type: string.
    pub const ENDPOINT: &str = "endpoint";
    /// What went wrong, with its causes. Type: string.
    pub const ERROR: &str = "error";
    /// A class of errors, of which there are few. Type: string.
    pub const ERROR_TYPE: &str = "error.type";
    /// What an error says. Type: string.
    pub const EXCEPTION_MESSAGE: &str = "exception.message";
    /// Where it came from. Type: string.
    pub const EXCEPTION_STACKTRACE: &str = "exception.stacktrace";
    /// Its type. Type: string.
    pub const EXCEPTION_TYPE: &str = "exception.type";
    /// How often it failed in a row. Type: int.
    pub const FAILURES: &str = "failures";
    /// A session: all refresh tokens of one log-in. Type: string.
    pub const FAMILY: &str = "family";
    /// Whether the place where revocations are shared had forgotten them. Type: boolean.
    pub const FORGOTTEN: &str = "forgotten";
    /// How a token was asked for. Type: string.
    pub const GRANT: &str = "grant";
    /// Where gRPC is served. Type: string.
    pub const GRPC: &str = "grpc";
    /// Sagas that other replicas go on with. Type: int.
    pub const HANDED_OVER: &str = "handed_over";
    /// The machine. Type: string.
    pub const HOST_NAME: &str = "host.name";
    /// Where HTTP is served. Type: string.
    pub const HTTP: &str = "http";
    /// The request's method; `_OTHER` where it is none that is known. Type: string.
    pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
    /// How many times the request was sent before. Type: int.
    pub const HTTP_REQUEST_RESEND_COUNT: &str = "http.request.resend_count";
    /// The answer's status. Type: int.
    pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
    /// The route that matched, without values. Type: string.
    pub const HTTP_ROUTE: &str = "http.route";
    /// The caller's idempotency key, hashed. Type: string.
    pub const IDEMPOTENCY_KEY: &str = "idempotency.key";
    /// Whether the answer is the one that the key was given before. Type: boolean.
    pub const IDEMPOTENCY_REPLAYED: &str = "idempotency.replayed";
    /// How many items of the catalogue. Type: int.
    pub const ITEMS: &str = "items";
    /// An access token's id. Type: string.
    pub const JTI: &str = "jti";
    /// A signing key's id. Type: string.
    pub const KID: &str = "kid";
    /// Which finite thing at the gateway. Type: string.
    pub const KIND: &str = "kind";
    /// How many are unfinished. Type: int.
    pub const LEFT: &str = "left";
    /// How many log lines. Type: int.
    pub const LINES: &str = "lines";
    /// A metric's name. Type: string.
    pub const METRIC: &str = "metric";
    /// The application's protocol. Type: string.
    pub const NETWORK_PROTOCOL_NAME: &str = "network.protocol.name";
    /// Its version. Type: string.
    pub const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";
    /// When it is tried again. Type: string.
    pub const NEXT: &str = "next";
    /// How many there are at the most. Type: int.
    pub const OF: &str = "of";
    /// How many pieces there are. Type: int.
    pub const ON_HAND: &str = "on_hand";
    /// What the payment processor is asked. Type: string.
    pub const OPERATION: &str = "operation";
    /// Who asked for it. Type: string.
    pub const OPERATOR: &str = "operator";
    /// The order. Type: string.
    pub const ORDER_ID: &str = "order.id";
    /// How an attempt ended, as `saga.outcome`. Type: string.
    pub const OUTCOME: &str = "outcome";
    /// What the bank was asked. Type: string.
    pub const PATH: &str = "path";
    /// The payment. Type: string.
    pub const PAYMENT_ID: &str = "payment.id";
    /// How the payment stands. Type: string.
    pub const PAYMENT_STATE: &str = "payment.state";
    /// The other end of a connection. Type: string.
    pub const PEER: &str = "peer";
    /// The callee. The conventions call it `service.peer.name` now; both are set, since many tools know this one only. Type: string.
    pub const PEER_SERVICE: &str = "peer.service";
    /// As `saga.phase`. Type: string.
    pub const PHASE: &str = "phase";
    /// The process. Type: int.
    pub const PROCESS_PID: &str = "process.pid";
    /// What a request came by. Type: string.
    pub const PROTOCOL: &str = "protocol";
    /// Why; of metrics, in a word of which there are few. Type: string.
    pub const REASON: &str = "reason";
    /// Why a refresh token was refused. Type: string.
    pub const REFUSAL: &str = "refusal";
    /// How many refusals the line stands for: one is written a second for each reason. Type: int.
    pub const REFUSED_COUNT: &str = "refused_count";
    /// A replica of the order service. Type: string.
    pub const REPLICA: &str = "replica";
    /// How many replicas. Type: int.
    pub const REPLICAS: &str = "replicas";
    /// The request's length. Type: int.
    pub const REQUEST_BYTES: &str = "request_bytes";
    /// How many requests. Type: int.
    pub const REQUESTS: &str = "requests";
    /// The reservation. Type: string.
    pub const RESERVATION_ID: &str = "reservation.id";
    /// How many reservations. Type: int.
    pub const RESERVATIONS: &str = "reservations";
    /// The answer's length. Type: int.
    pub const RESPONSE_BYTES: &str = "response_bytes";
    /// How it ended, in a word of which there are few. Type: string.
    pub const RESULT: &str = "result";
    /// Which attempt it is, from 1. Type: int.
    pub const RETRY_ATTEMPT: &str = "retry.attempt";
    /// Whether an attempt after the first was the one that succeeded. Type: boolean.
    pub const RETRY_SUCCEEDED: &str = "retry.succeeded";
    /// The fully qualified method. Type: string.
    pub const RPC_METHOD: &str = "rpc.method";
    /// How the call ended. Was `rpc.response.status_code` up to 1.44. Type: string.
    pub const RPC_STATUS_CODE: &str = "rpc.status_code";
    /// The system. Type: string.
    pub const RPC_SYSTEM_NAME: &str = "rpc.system.name";
    /// As `saga.name`. Type: string.
    pub const SAGA: &str = "saga";
    /// How often the saga has changed its owner, from 1. Type: int.
    pub const SAGA_FENCE: &str = "saga.fence";
    /// The saga. Type: string.
    pub const SAGA_ID: &str = "saga.id";
    /// Its definition. Type: string.
    pub const SAGA_NAME: &str = "saga.name";
    /// How a step's attempt, or a saga, ended. Type: enum.
    pub const SAGA_OUTCOME: &str = "saga.outcome";
    /// What was made of the step. Type: enum.
    pub const SAGA_PHASE: &str = "saga.phase";
    /// Whether another replica had begun it. Type: boolean.
    pub const SAGA_RESUMED: &str = "saga.resumed";
    /// Where the saga stands. Type: enum.
    pub const SAGA_STATUS: &str = "saga.status";
    /// The step. Type: string.
    pub const SAGA_STEP: &str = "saga.step";
    /// A section of the configuration. Type: string.
    pub const SECTION: &str = "section";
    /// The host that is asked, or that answers. Type: string.
    pub const SERVER_ADDRESS: &str = "server.address";
    /// Its port. Type: int.
    pub const SERVER_PORT: &str = "server.port";
    /// Which service it is of; with everything in one process, the only way to tell. Type: string.
    pub const SERVICE: &str = "service";
    /// This process, as no other is called. Type: string.
    pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";
    /// The service. Type: string.
    pub const SERVICE_NAME: &str = "service.name";
    /// What the service is a part of. Type: string.
    pub const SERVICE_NAMESPACE: &str = "service.namespace";
    /// The callee. Type: string.
    pub const SERVICE_PEER_NAME: &str = "service.peer.name";
    /// The release. Type: string.
    pub const SERVICE_VERSION: &str = "service.version";
    /// How many have settled. Type: int.
    pub const SETTLED: &str = "settled";
    /// The signal that came. Type: string.
    pub const SIGNAL: &str = "signal";
    /// Where log lines go. Type: string.
    pub const SINK: &str = "sink";
    /// An item of the catalogue. Type: string.
    pub const SKU: &str = "sku";
    /// The cause below an error. Type: string.
    pub const SOURCE: &str = "source";
    /// A statement, without values. Type: string.
    pub const SQL: &str = "sql";
    /// How an order, a saga or an answer stands. Type: string.
    pub const STATUS: &str = "status";
    /// As `saga.step`; of a participant, which step it was asked for. Type: string.
    pub const STEP: &str = "step";
    /// Whose database. Type: string.
    pub const STORE: &str = "store";
    /// Whom a token is for. Type: string.
    pub const SUB: &str = "sub";
    /// Whom a request is from. Type: string.
    pub const SUBJECT: &str = "subject";
    /// Work that no request waits for. Type: string.
    pub const TASK: &str = "task";
    /// How many tasks still run. Type: int.
    pub const TASKS: &str = "tasks";
    /// Of what made the telemetry. Type: string.
    pub const TELEMETRY_SDK_LANGUAGE: &str = "telemetry.sdk.language";
    /// What made the telemetry. Type: string.
    pub const TELEMETRY_SDK_NAME: &str = "telemetry.sdk.name";
    /// Its version. Type: string.
    pub const TELEMETRY_SDK_VERSION: &str = "telemetry.sdk.version";
    /// The thread that panicked. Type: string.
    pub const THREAD: &str = "thread";
    /// How long the answer is waited for, in milliseconds. Type: int.
    pub const TIMEOUT_MS: &str = "timeout_ms";
    /// How long it took, in milliseconds. Type: int.
    pub const TOOK_MS: &str = "took_ms";
    /// How long it took, in microseconds. Type: int.
    pub const TOOK_US: &str = "took_us";
    /// What one piece costs. Type: string.
    pub const UNIT_PRICE: &str = "unit_price";
    /// Sagas of unknown definitions. Type: int.
    pub const UNKNOWN: &str = "unknown";
    /// A service behind the gateway. Type: string.
    pub const UPSTREAM: &str = "upstream";
    /// An address of another party. Type: string.
    pub const URL: &str = "url";
    /// The whole address, without credentials. Type: string.
    pub const URL_FULL: &str = "url.full";
    /// The path, without its query. Type: string.
    pub const URL_PATH: &str = "url.path";
    /// The scheme. Type: string.
    pub const URL_SCHEME: &str = "url.scheme";
    /// The path with placeholders instead of values. Type: string.
    pub const URL_TEMPLATE: &str = "url.template";
    /// A user's name. Type: string.
    pub const USER: &str = "user";
    /// Which attempt of the delivery it is, from 1. Type: int.
    pub const WEBHOOK_ATTEMPT: &str = "webhook.attempt";
    /// The event that is told. Type: string.
    pub const WEBHOOK_ID: &str = "webhook.id";
    /// How many webhooks. Type: int.
    pub const WEBHOOKS: &str = "webhooks";
}

/// What the renderer writes into each log record.
pub mod record {
    /// When, as Elasticsearch expects it; in shipped records. Type: string.
    pub const TIMESTAMP: &str = "@timestamp";
    /// What a caller named its request, or the gateway where it did not; the same in every service. Type: string.
    pub const CORRELATION_ID: &str = "correlation_id";
    /// The deployment. Type: string.
    pub const ENVIRONMENT: &str = "environment";
    /// Where in the source the line is made; of some lines for operators, a file of a store. Type: string.
    pub const FILE: &str = "file";
    /// The machine. Type: string.
    pub const HOSTNAME: &str = "hostname";
    /// 10 trace, 20 debug, 30 info, 40 warn, 50 error. Type: int.
    pub const LEVEL: &str = "level";
    /// Where in the source the line is made. Type: int.
    pub const LINE: &str = "line";
    /// The level in a word; in shipped records. Type: string.
    pub const LOG_LEVEL: &str = "log.level";
    /// What happened, as Elasticsearch expects it; in shipped records. Type: string.
    pub const MESSAGE: &str = "message";
    /// What happened. Type: string.
    pub const MSG: &str = "msg";
    /// The program. Type: string.
    pub const NAME: &str = "name";
    /// The process. Type: int.
    pub const PID: &str = "pid";
    /// The service. Type: string.
    pub const SERVICE_NAME: &str = "service_name";
    /// The release. Type: string.
    pub const SERVICE_VERSION: &str = "service_version";
    /// The name that the innermost span has in the source. Type: string.
    pub const SPAN: &str = "span";
    /// The span that it belongs to. Type: string.
    pub const SPAN_ID: &str = "span_id";
    /// The module that says it, or `story`. Type: string.
    pub const TARGET: &str = "target";
    /// When; RFC 3339, UTC. Type: string.
    pub const TIME: &str = "time";
    /// The trace that it belongs to. Type: string.
    pub const TRACE_ID: &str = "trace_id";
    /// The version of the record's form, bunyan's. Type: int.
    pub const V: &str = "v";
}

/// Values of `circuit_breaker.state`.
pub mod circuit_breaker_state {
    /// Calls are made.
    pub const CLOSED: &str = "closed";
    /// One call is tried.
    pub const HALF_OPEN: &str = "half_open";
    /// Calls are refused.
    pub const OPEN: &str = "open";
}

/// Values of `saga.outcome`.
pub mod saga_outcome {
    /// The action took effect.
    pub const DONE: &str = "done";
    /// The action was refused.
    pub const REFUSED: &str = "refused";
    /// Whether the action took effect is not known.
    pub const UNKNOWN: &str = "unknown";
    /// The attempt surely never left.
    pub const NOT_SENT: &str = "not_sent";
    /// The compensation is done.
    pub const UNDONE: &str = "undone";
    /// The pivot had no effect and never will.
    pub const CLOSED: &str = "closed";
    /// A compensation or a close did not succeed yet.
    pub const NOT_YET: &str = "not_yet";
    /// Of a saga: all steps are done.
    pub const COMPLETED: &str = "completed";
    /// Of a saga: nothing it did is left.
    pub const UNWOUND: &str = "unwound";
    /// Of a saga: it needs a human.
    pub const PARKED: &str = "parked";
}

/// Values of `saga.phase`.
pub mod saga_phase {
    /// The step's action.
    pub const ACTION: &str = "action";
    /// What takes it back.
    pub const COMPENSATION: &str = "compensation";
    /// The closing of the pivot, before anything is taken back.
    pub const CLOSE: &str = "close";
}

/// Values of `saga.status`.
pub mod saga_status {
    /// It goes forward.
    pub const RUNNING: &str = "running";
    /// It takes everything back.
    pub const UNWINDING: &str = "unwinding";
    /// All steps are done.
    pub const COMPLETED: &str = "completed";
    /// Nothing it did is left.
    pub const UNWOUND: &str = "unwound";
    /// It needs a human.
    pub const PARKED: &str = "parked";
}

/// Metrics, as they are called on the page; samples of counters end in `_total`.
pub mod metric {
    /// Pieces of work that may be under way, as measured. A gauge in orders.
    pub const ADMISSION_LIMIT: &str = "admission_limit";
    /// Pieces of work that wait for room. A gauge in orders.
    pub const ADMISSION_QUEUED: &str = "admission_queued";
    /// Pieces of work under way. A gauge in orders.
    pub const ADMISSION_WORKING: &str = "admission_working";
    /// Tokens looked at, by result. A counter in tokens.
    pub const AUTH_VERIFICATIONS: &str = "auth_verifications";
    /// Calls in flight. A updowncounter in calls.
    pub const BULKHEAD_IN_FLIGHT: &str = "bulkhead_in_flight";
    /// Calls that were not made. A counter in calls.
    pub const CALLS_REFUSED: &str = "calls_refused";
    /// 0 closed, 1 half open, 2 open. A gauge in states.
    pub const CIRCUIT_BREAKER_STATE: &str = "circuit_breaker_state";
    /// State changes, by the state entered. A counter in changes.
    pub const CIRCUIT_BREAKER_TRANSITIONS: &str = "circuit_breaker_transitions";
    /// How long calls to databases took. A histogram in seconds.
    pub const DB_CLIENT_OPERATION_DURATION: &str = "db_client_operation_duration_seconds";
    /// Open connections of callers. A updowncounter in connections.
    pub const GATEWAY_CONNECTIONS: &str = "gateway_connections";
    /// What requests hold of what there is. A updowncounter in units.
    pub const GATEWAY_HELD: &str = "gateway_held";
    /// Requests the gateway refused itself, by code. A counter in requests.
    pub const GATEWAY_REFUSALS: &str = "gateway_refusals";
    /// Requests sent again on another connection. A counter in requests.
    pub const GATEWAY_UPSTREAM_RETRIES: &str = "gateway_upstream_retries";
    /// How long HTTP calls to other services took, each attempt. A histogram in seconds.
    pub const HTTP_CLIENT_REQUEST_DURATION: &str = "http_client_request_duration_seconds";
    /// How long HTTP requests took to answer. A histogram in seconds.
    pub const HTTP_SERVER_REQUEST_DURATION: &str = "http_server_request_duration_seconds";
    /// Since when the key signs that signs now, in seconds since 1970; 0 while there is none. A gauge in seconds.
    pub const IDENTITY_SIGNING_KEY_ACTIVE_FROM_TIMESTAMP: &str = "identity_signing_key_active_from_timestamp_seconds";
    /// For how long a key signs before the next one does. A gauge in seconds.
    pub const IDENTITY_SIGNING_KEY_ROTATION: &str = "identity_signing_key_rotation_seconds";
    /// Reservations let go because their time had passed. A counter in reservations.
    pub const INVENTORY_RESERVATIONS_EXPIRED: &str = "inventory_reservations_expired";
    /// Steps answered, repeats included, by result. A counter in steps.
    pub const INVENTORY_STEPS: &str = "inventory_steps";
    /// Log lines for the console that were dropped. A counter in lines.
    pub const LOG_CONSOLE_DROPPED: &str = "log_console_dropped";
    /// Log lines for the console. A counter in lines.
    pub const LOG_CONSOLE_LINES: &str = "log_console_lines";
    /// 1 while the shipper has a connection. A gauge in connections.
    pub const LOG_SHIPPER_CONNECTED: &str = "log_shipper_connected";
    /// Log lines that the sink has taken. A counter in lines.
    pub const LOG_SHIPPER_DELIVERED: &str = "log_shipper_delivered";
    /// Log lines that the shipper dropped. A counter in lines.
    pub const LOG_SHIPPER_DROPPED: &str = "log_shipper_dropped";
    /// Log lines handed to the shipper. A counter in lines.
    pub const LOG_SHIPPER_LINES: &str = "log_shipper_lines";
    /// Log lines sent again because a connection broke; the sink may have them twice. A counter in lines.
    pub const LOG_SHIPPER_REPEATED: &str = "log_shipper_repeated";
    /// Log-ins by result. A counter in logins.
    pub const LOGINS: &str = "logins";
    /// From placing an order to its being settled. A histogram in seconds.
    pub const ORDER_PROCESSING: &str = "order_processing_seconds";
    /// Totals of confirmed orders. A histogram in minor units.
    pub const ORDER_VALUE: &str = "order_value";
    /// Orders by how they ended, and requests answered 503 without an order. A counter in orders.
    pub const ORDERS: &str = "orders";
    /// Orders whose saga runs in this process. A updowncounter in orders.
    pub const ORDERS_ACTIVE: &str = "orders_active";
    /// Charges asked of the payment processor, by how it answered. A counter in charges.
    pub const PAYMENT_ATTEMPTS: &str = "payment_attempts";
    /// Authorizations asked of the payment processor, by how it answered. A counter in authorizations.
    pub const PAYMENT_AUTHORIZATIONS: &str = "payment_authorizations";
    /// Captures asked of the payment processor, by how it answered. A counter in captures.
    pub const PAYMENT_CAPTURES: &str = "payment_captures";
    /// How long the payment processor took to answer. A histogram in seconds.
    pub const PAYMENT_PROCESSOR_CALL_DURATION: &str = "payment_processor_call_duration_seconds";
    /// Refunds asked of the payment processor, by how it answered. A counter in refunds.
    pub const PAYMENT_REFUNDS: &str = "payment_refunds";
    /// Voids asked of the payment processor, by how it answered. A counter in voids.
    pub const PAYMENT_VOIDS: &str = "payment_voids";
    /// Processor time used. A counter in seconds.
    pub const PROCESS_CPU: &str = "process_cpu_seconds";
    /// File descriptors that may be open at the most. A gauge in descriptors.
    pub const PROCESS_MAX_FDS: &str = "process_max_fds";
    /// Open file descriptors. A gauge in descriptors.
    pub const PROCESS_OPEN_FDS: &str = "process_open_fds";
    /// Memory in use. A gauge in bytes.
    pub const PROCESS_RESIDENT_MEMORY: &str = "process_resident_memory_bytes";
    /// Sessions revoked because an old refresh token was used again. A counter in sessions.
    pub const REFRESH_REUSES: &str = "refresh_reuses";
    /// Requests refused because of too many others. A counter in requests.
    pub const REQUESTS_SHED: &str = "requests_shed";
    /// Attempts after the first. A counter in attempts.
    pub const RETRIES: &str = "retries";
    /// How long calls to other services took, each attempt. A histogram in seconds.
    pub const RPC_CLIENT_CALL_DURATION: &str = "rpc_client_call_duration_seconds";
    /// How long gRPC calls took, to their last byte. A histogram in seconds.
    pub const RPC_SERVER_CALL_DURATION: &str = "rpc_server_call_duration_seconds";
    /// Sagas in memory. A updowncounter in sagas.
    pub const SAGA_ACTIVE: &str = "saga_active";
    /// Sagas taken over. A counter in sagas.
    pub const SAGA_CLAIMED: &str = "saga_claimed";
    /// From a saga's start to its settling. A histogram in seconds.
    pub const SAGA_DURATION: &str = "saga_duration_seconds";
    /// Appends refused because the saga was taken over. A counter in appends.
    pub const SAGA_FENCED: &str = "saga_fenced";
    /// From an entry's submission to its commit. A histogram in seconds.
    pub const SAGA_JOURNAL_APPEND: &str = "saga_journal_append_seconds";
    /// Entries and starts in one transaction. A histogram in entrys.
    pub const SAGA_JOURNAL_BATCH: &str = "saga_journal_batch";
    /// How long such a transaction took. A histogram in seconds.
    pub const SAGA_JOURNAL_COMMIT: &str = "saga_journal_commit_seconds";
    /// Transactions the journal's writer committed. A counter in transactions.
    pub const SAGA_JOURNAL_COMMITS: &str = "saga_journal_commits";
    /// Journal calls that failed and are tried again. A counter in calls.
    pub const SAGA_JOURNAL_ERRORS: &str = "saga_journal_errors";
    /// Times this replica's lease had run out. A counter in leases.
    pub const SAGA_LEASES_LOST: &str = "saga_leases_lost";
    /// How long ago the oldest saga that is under way was started. A gauge in seconds.
    pub const SAGA_OLDEST: &str = "saga_oldest_seconds";
    /// Parked sagas in the store. A gauge in sagas.
    pub const SAGA_PARKED: &str = "saga_parked";
    /// Finished sagas deleted by age. A counter in sagas.
    pub const SAGA_PURGED: &str = "saga_purged";
    /// Sagas that settled here. A counter in sagas.
    pub const SAGA_SETTLED: &str = "saga_settled";
    /// Sagas stored to be run. A counter in sagas.
    pub const SAGA_STARTED: &str = "saga_started";
    /// How long an attempt took. A histogram in seconds.
    pub const SAGA_STEP_ATTEMPT: &str = "saga_step_attempt_seconds";
    /// Attempts of steps. A counter in attempts.
    pub const SAGA_STEP_ATTEMPTS: &str = "saga_step_attempts";
    /// Sagas left alone because their definition is not known here. A gauge in sagas.
    pub const SAGA_UNKNOWN_DEFINITIONS: &str = "saga_unknown_definitions";
    /// Sagas whose journal cannot be read. A counter in sagas.
    pub const SAGA_UNREADABLE: &str = "saga_unreadable";
    /// Requests being answered. A updowncounter in requests.
    pub const SERVER_ACTIVE_REQUESTS: &str = "server_active_requests";
    /// Changes that a store was asked to make durable. A counter in transactions.
    pub const SQL_COMMITS: &str = "sql_commits";
    /// Statements sent to a store, without BEGIN, COMMIT and ROLLBACK. A counter in statements.
    pub const SQL_STATEMENTS: &str = "sql_statements";
    /// Spans that were to be sent and are lost. A counter in spans.
    pub const TELEMETRY_SPANS_DROPPED: &str = "telemetry_spans_dropped";
    /// Spans that the collector took. A counter in spans.
    pub const TELEMETRY_SPANS_EXPORTED: &str = "telemetry_spans_exported";
    /// Until when the gateway's certificate is valid; seconds since 1970. A gauge in seconds.
    pub const TLS_CERTIFICATE_NOT_AFTER_TIMESTAMP: &str = "tls_certificate_not_after_timestamp_seconds";
    /// Access tokens and sessions revoked. A counter in revocations.
    pub const TOKEN_REVOCATIONS: &str = "token_revocations";
    /// Access tokens issued, by grant. A counter in tokens.
    pub const TOKENS_ISSUED: &str = "tokens_issued";
    /// How long an endpoint took to answer. A histogram in seconds.
    pub const WEBHOOK_ATTEMPT_DURATION: &str = "webhook_attempt_duration_seconds";
    /// Attempts to deliver a webhook, by how they ended. A counter in attempts.
    pub const WEBHOOK_ATTEMPTS: &str = "webhook_attempts";
    /// Webhooks that were given up and wait for an operator. A counter in webhooks.
    pub const WEBHOOK_DEAD: &str = "webhook_dead";
    /// Webhooks that an endpoint has accepted. A counter in webhooks.
    pub const WEBHOOK_DELIVERED: &str = "webhook_delivered";
    /// How long the oldest webhook that is still tried has been tried; 0 where there is none. A gauge in seconds.
    pub const WEBHOOK_PENDING_AGE: &str = "webhook_pending_age_seconds";
}

/// Messages of events that have a name.
pub mod event {
    /// An order's or a cancellation's saga was started, and its start is durable.
    pub const ORDER_ACCEPTED: &str = "accepted";
    /// Another replica, or this one after a restart, goes on with the saga.
    pub const SAGA_TAKEN_OVER: &str = "taken over";
    /// The action took effect.
    pub const SAGA_STEP_DONE: &str = "step done";
    /// The action was refused.
    pub const SAGA_STEP_REFUSED: &str = "step refused";
    /// The attempt surely never left.
    pub const SAGA_STEP_NOT_SENT: &str = "step not sent";
    /// Whether the action took effect is not known.
    pub const SAGA_STEP_IN_DOUBT: &str = "step in doubt";
    /// It was decided to take everything back.
    pub const SAGA_UNWINDING: &str = "unwinding";
    /// The pivot had no effect and never will.
    pub const SAGA_PIVOT_CLOSED: &str = "pivot closed";
    /// The pivot turned out to have taken effect.
    pub const SAGA_PIVOT_WAS_DONE: &str = "pivot was done: goes forward";
    /// Closing the pivot is tried again.
    pub const SAGA_PIVOT_NOT_CLOSED: &str = "pivot not closed yet";
    /// A step is undone.
    pub const SAGA_COMPENSATED: &str = "compensated";
    /// The compensation is tried again.
    pub const SAGA_NOT_COMPENSATED: &str = "not compensated yet";
    /// What asking again does not change.
    pub const SAGA_PARKED: &str = "parked: it needs a human";
    /// An operator wants the saga unwound.
    pub const SAGA_CANCEL_ASKED: &str = "an operator asked to cancel";
    /// An operator had it tried again.
    pub const SAGA_RETRIED: &str = "an operator had it retried";
    /// An operator settled a step by hand.
    pub const SAGA_STEP_RESOLVED: &str = "an operator settled a step";
    /// What an operator asked for cannot be done.
    pub const SAGA_REQUEST_REFUSED: &str = "an operator's request was refused";
    /// The saga has come to its end.
    pub const SAGA_SETTLED: &str = "settled";
    /// One request, as the gateway saw it.
    pub const GATEWAY_REQUEST: &str = "request";
    /// A service has answered a request; only of what failed there, unless lines of level debug are kept.
    pub const REQUEST_ANSWERED: &str = "answered";
    /// What a caller is told of its order.
    pub const ORDER_ANSWERING: &str = "answering";
    /// The breaker before a dependency has changed its state.
    pub const CIRCUIT_BREAKER_TRANSITION: &str = "circuit breaker";
    /// A participant has answered a step that a saga asked for; which order and saga, the span around it says.
    pub const PARTICIPANT_STEP: &str = "step answered";
}
