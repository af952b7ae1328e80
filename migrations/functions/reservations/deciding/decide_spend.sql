-- decide_spend: yes or no by quota, for each item in order. An amount is granted if for every enforced balance used +
-- amount <= limit (rule 2). A pure function over arrays: reserve_spend() calls it and writes the outcome.
-- p_amounts[i]: what item i asks for; null if it is not to be decided. An item that accepts less gets p_fixed[i] USD
-- and p_per_unit[i] USD for each unit that fits; with p_per_unit[i] = 0 it is all or nothing.
-- p_free[i]: item i's rate card is free, so no quota refuses it or warns about it.
-- p_item_scopes: three scope numbers per item, 0 for none. The balances of scope s are those from p_first[s] to
-- p_last[s]. p_modes[b]: 2 enforce, 1 warn, 0 off.
-- p_in_order: true: what an item gets is taken before the next one is decided; false: each item is decided as if it
-- were the only one.
-- o_amounts[i]: the granted amount, or null. o_granted_units[i]: set if less than asked was granted. o_notes[i]: JSON
-- of the refusal (the room over the enforced balances, and the violated ones with what they had spent and held) or of
-- the warnings.
create or replace function copilot_internal.decide_spend(
  p_amounts numeric[], p_fixed numeric[], p_per_unit numeric[], p_free boolean[], p_item_scopes integer[],
  p_first integer[], p_last integer[], p_limits numeric[], p_spent numeric[], p_reserved numeric[], p_modes integer[],
  p_in_order boolean, out o_amounts numeric[], out o_granted_units numeric[], out o_notes text[]
)
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reserved numeric[] := p_reserved;
  v_amount numeric;
  v_room numeric;
  v_units numeric;
  v_scope integer;
  v_list text;
begin
  o_amounts := array_fill(null::numeric, array[cardinality(p_amounts)]);
  o_granted_units := o_amounts;
  o_notes := array_fill(null::text, array[cardinality(p_amounts)]);
  for i in 1 .. cardinality(p_amounts) loop
    v_amount := p_amounts[i];
    continue when v_amount is null;
    if p_free[i] and v_amount = 0 then
      o_amounts[i] := 0;
      continue;
    end if;
    v_room := null;
    for k in 3 * i - 2 .. 3 * i loop
      v_scope := p_item_scopes[k];
      continue when v_scope = 0;
      for v_balance in p_first[v_scope] .. p_last[v_scope] loop
        if p_modes[v_balance] = 2 then
          v_room := least(v_room, p_limits[v_balance] - p_spent[v_balance] - v_reserved[v_balance]);
        end if;
      end loop;
    end loop;

    v_units := null;
    if v_amount > v_room and p_per_unit[i] > 0 then
      -- div() truncates exactly. A quotient of numerics is rounded and could be one unit too high.
      v_units := div(v_room - p_fixed[i], p_per_unit[i]);
      if round(p_fixed[i] + v_units * p_per_unit[i], 12) > v_room then
        v_units := v_units - 1;
      end if;
      v_units := case when v_units >= 1 and v_room >= p_fixed[i] then v_units end;
      v_amount := coalesce(round(p_fixed[i] + v_units * p_per_unit[i], 12), v_amount);
    end if;

    v_list := '';
    for k in 3 * i - 2 .. 3 * i loop
      v_scope := p_item_scopes[k];
      continue when v_scope = 0;
      for v_balance in p_first[v_scope] .. p_last[v_scope] loop
        if p_modes[v_balance] > 0 and p_spent[v_balance] + v_reserved[v_balance] + v_amount > p_limits[v_balance]
           and (p_modes[v_balance] = 2 or v_room is null or v_amount <= v_room) then
          v_list := v_list || ',[' || (v_balance - 1) || ',"' || p_spent[v_balance] || '","' || v_reserved[v_balance] || '"]';
        end if;
        if p_in_order and (v_room is null or v_amount <= v_room) then
          v_reserved[v_balance] := v_reserved[v_balance] + v_amount;
        end if;
      end loop;
    end loop;

    if v_room is null or v_amount <= v_room then
      o_amounts[i] := v_amount;
      o_granted_units[i] := v_units;
      if v_list <> '' then
        o_notes[i] := '[' || substr(v_list, 2) || ']';
      end if;
    else
      o_notes[i] := '{"largest_allowed_usd":"' || greatest(v_room, 0) || '","violations":[' || substr(v_list, 2) || ']}';
    end if;
  end loop;
end $$;
comment on function copilot_internal.decide_spend(numeric[], numeric[], numeric[], boolean[], integer[], integer[], integer[], numeric[], numeric[], numeric[], integer[], boolean) is 'Yes or no by quota for items in order or each alone, over arrays.';
