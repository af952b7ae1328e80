-- sum_by_balance: what a batch adds to each balance: the sum of the amounts of all items that name its scope; null
-- counts as nothing.
-- p_item_scopes: three scope numbers per item, 0 for none. The balances of scope s are those from p_first[s] to
-- p_last[s].
create or replace function copilot_internal.sum_by_balance(
  p_amounts numeric[], p_item_scopes integer[], p_first integer[], p_last integer[]
)
returns numeric[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_by_scope numeric[] := array_fill(0::numeric, array[cardinality(p_last)]);
  v_by_balance numeric[] := '{}';
  v_scope integer;
begin
  for i in 1 .. cardinality(p_amounts) loop
    continue when p_amounts[i] is null;
    for k in 3 * i - 2 .. 3 * i loop
      v_scope := p_item_scopes[k];
      continue when v_scope = 0;
      v_by_scope[v_scope] := v_by_scope[v_scope] + p_amounts[i];
    end loop;
  end loop;
  for s in 1 .. cardinality(p_last) loop
    for b in p_first[s] .. p_last[s] loop
      v_by_balance[b] := v_by_scope[s];
    end loop;
  end loop;
  return v_by_balance;
end $$;
comment on function copilot_internal.sum_by_balance(numeric[], integer[], integer[], integer[]) is 'What a batch of items adds to each balance.';
