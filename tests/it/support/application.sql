-- What the kind `steps` writes to and waits for, in the schema of an application.

-- A row for each step that took effect. It forbids no repetition: that is the protocol's to do, and the tests' to see.
CREATE TABLE public.ledger (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job        text NOT NULL,
  occurrence timestamptz NOT NULL,
  step       int NOT NULL,
  version    bigint NOT NULL,
  run_id     uuid NOT NULL,
  label      text
);

-- A gate is open if its name is here.
CREATE TABLE public.gate (name text PRIMARY KEY);

-- Returns when the gate is open: it keeps the statement that calls it, and its transaction, on their way until then.
CREATE FUNCTION public.pass(p_gate text) RETURNS SETOF int LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  WHILE p_gate IS NOT NULL AND NOT EXISTS (SELECT FROM public.gate WHERE name = p_gate) LOOP
    PERFORM pg_sleep(0.005);
  END LOOP;
  RETURN NEXT 1;
END $$;
