drop table copilot_internal.price_edition;
