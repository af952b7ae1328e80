alter table copilot_internal.price_edition
  drop column fed_at;
