//! `ListOrders`

use amends_protos::orders::v1::{ListOrdersRequest, ListOrdersResponse};
use service_base::problem::Problem;

use super::{OrdersGrpc, convert};
use crate::{
    app::{Caller, PAGE_DEFAULT, PAGE_MAX},
    http::cursor,
};

impl OrdersGrpc {
    pub(super) async fn list(
        &self,
        caller: &Caller,
        message: &ListOrdersRequest,
    ) -> Result<ListOrdersResponse, Problem> {
        let limit = match u16::try_from(message.page_size) {
            Ok(0) => PAGE_DEFAULT,
            Ok(limit @ 1..=PAGE_MAX) => limit,
            _ => return Err(Problem::invalid("page_size", format!("must be a whole number from 0 to {PAGE_MAX}"))),
        };
        let status = convert::status_filter(message.status)
            .map_err(|()| Problem::invalid("status", "must be one of the values of OrderStatus"))?;
        let before = match message.page_token.as_str() {
            "" => None,
            token => {
                Some(cursor::decode(token).ok_or_else(|| Problem::invalid("page_token", "is not a token of ours"))?)
            }
        };
        let page = self.api.core.list_orders(caller, status, before, limit, self.read_until()).await?;
        Ok(ListOrdersResponse {
            orders: page.orders.iter().map(|(order, saga)| convert::order(order, *saga)).collect(),
            next_page_token: page.next.map(cursor::encode).unwrap_or_default(),
        })
    }
}
