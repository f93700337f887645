//! `ListPayments`: payments in the order of their ids, or of time where a span of it is asked for, page by page; also how an audit
//! reads all of them.

use amends_protos::payments::v1::{ListPaymentsRequest, ListPaymentsResponse};
use service_kit::grpc::fields::Fields;
use tonic::Status;

use super::{Api, fields, message, status};
use crate::{domain::CustomerId, store::ListQuery};

pub(super) async fn answer(api: &Api, request: ListPaymentsRequest) -> Result<ListPaymentsResponse, Status> {
    let page = api.payments.list(&read(&request)?).await.map_err(|error| status::of(&error))?;
    // The token is the last id: there is nothing to hide in it, and it stays good whatever happens in between.
    let next = page.payments.last().filter(|_| page.more).map(|last| last.id.to_string());
    Ok(ListPaymentsResponse {
        payments: page.payments.iter().map(message::payment).collect(),
        next_page_token: next.unwrap_or_default(),
    })
}

fn read(request: &ListPaymentsRequest) -> Result<ListQuery, Status> {
    let mut fields = Fields::of(super::DOMAIN);
    let customer = &request.customer_id;
    let query = ListQuery {
        limit: fields::page_size(&mut fields, request.page_size),
        after: fields.parsed_if_given("page_token", &request.page_token),
        order_id: fields.parsed_if_given("order_id", &request.order_id),
        customer_id: if customer.is_empty() {
            None
        } else {
            fields.check("customer_id", CustomerId::try_new(customer))
        },
        status: fields.check("state", message::status(request.state)).flatten(),
        created_from: fields::time_if_given(&mut fields, "created_from", request.created_from.as_ref()),
        created_before: fields::time_if_given(&mut fields, "created_before", request.created_before.as_ref()),
    };
    fields.finish(Some(query))
}
