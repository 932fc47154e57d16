"""Order of the lists of lineage links and of relationships."""

from enum import Enum
from typing import Annotated

import strawberry

from db.associations import order
from schema.language.inputs import input_field
from schema.language.pagination import OrderDirection


@strawberry.enum(description="Field by which a list of lineage links or relationships is ordered.")
class AssociationOrderField(Enum):
    RECORDED = strawberry.enum_value("RECORDED", description="The order in which they were first recorded.")
    UPDATED_AT = strawberry.enum_value("UPDATED_AT", description="By the instant of the last change, which is validFrom.")


@strawberry.input(description="Order of a list of lineage links or relationships.")
class AssociationOrder:
    field: AssociationOrderField = input_field("Field to order by.")
    direction: OrderDirection = input_field("Direction of the order.", default=OrderDirection.ASC)


OrderBy = Annotated[AssociationOrder, strawberry.argument(description="Order of the list.")]
AS_RECORDED = AssociationOrder(field=AssociationOrderField("RECORDED"), direction=OrderDirection("ASC"))


def order_of(order_by: AssociationOrder) -> tuple[order.AssociationOrder, bool]:
    """Return the order of an input, and whether it is descending."""
    return order.AssociationOrder[order_by.field.name], order_by.direction is OrderDirection.DESC
