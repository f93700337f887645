//! What the participants say about an order, asked as an operator asks.

use amends_protos::{
    inventory::v1::{
        GetItemRequest, ListReservationsRequest, ReservationState, inventory_service_client::InventoryServiceClient,
    },
    payments::v1::{ListPaymentsRequest, payment_service_client::PaymentServiceClient},
};
use anyhow::{Context, Result, ensure};
use tonic::Request;

use super::Platform;
use crate::check::Books;

impl Platform {
    /// The balances of one order.
    pub async fn books(&self, order: &str) -> Result<Books> {
        let mut books = Books::default();
        let mut payments = PaymentServiceClient::connect(format!("http://{}", self.payment)).await?;
        let ask = ListPaymentsRequest { order_id: order.to_owned(), page_size: 100, ..ListPaymentsRequest::default() };
        let page = payments.list_payments(self.as_operator(ask).await?).await?.into_inner();
        ensure!(page.next_page_token.is_empty(), "an order with more than 100 payments");
        for payment in page.payments {
            let minor = |money: Option<amends_protos::common::v1::Money>| money.map_or(0, |money| money.amount_minor);
            let captured = minor(payment.captured);
            books.captured += captured;
            books.refunded += minor(payment.refunded);
            books.payments += usize::from(captured > 0);
        }
        let mut inventory = InventoryServiceClient::connect(format!("http://{}", self.inventory)).await?;
        let ask = ListReservationsRequest {
            order_id: order.to_owned(),
            page_size: 100,
            ..ListReservationsRequest::default()
        };
        let page = inventory.list_reservations(self.as_operator(ask).await?).await?.into_inner();
        for reservation in page.reservations {
            match reservation.state() {
                ReservationState::Held => books.held += 1,
                ReservationState::Committed => books.committed += 1,
                _ => {}
            }
        }
        Ok(books)
    }

    /// Units of an article that can be ordered now.
    pub async fn available(&self, sku: &str) -> Result<i64> {
        let mut inventory = InventoryServiceClient::connect(format!("http://{}", self.inventory)).await?;
        let ask = self.as_operator(GetItemRequest { sku: sku.to_owned() }).await?;
        Ok(inventory.get_item(ask).await?.into_inner().item.context("no such article")?.available)
    }

    pub(super) async fn as_operator<T>(&self, message: T) -> Result<Request<T>> {
        let operator = self.admin().await?;
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {}", operator.token().unwrap_or_default()).parse()?);
        Ok(request)
    }
}
