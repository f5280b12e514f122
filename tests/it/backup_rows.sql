-- Rows for the six tables.
INSERT INTO app.numbers (n, big, i2, f4, f8, b, p, m) VALUES
  (1.5, 123456789012345678901234567890.123456789012345678901234567890, -32768, 1.1, 0.1, true, 99.99, 12.34),
  (-0.00001, 'NaN', 32767, 'NaN', 'Infinity', false, 0, -0.01), (12345678901234.5, 0.000, 0, '-Infinity', '-0', NULL, NULL, NULL),
  (NULL, 1e100, NULL, 3.4e38, 1e-300, NULL, 100, NULL);
INSERT INTO app.texts (t, c, c0, v, n, "Odd ""Name\") VALUES
  (E'quote " and ''apostrophe''', 'ab', E'trailing  ', 'v', 'n', E'\\N'), (E'two\nlines\r\nand\ttab', '', '', '', '', ''),
  (E'\\.', NULL, NULL, NULL, NULL, NULL), (E'back\\slash \\n \x01\x02\x1f', 'abcde', ' ', 'null', 'NULL', 'é☃𝄞'), ('', 'x', 'x', E'a,b;"c"', 'x', ',');
INSERT INTO app.lines (t) SELECT t FROM app.texts;
INSERT INTO app.documents VALUES
  (1, '{"a": [1, 2.50, "x\ny", null], "é": {"": 1e3}}', E'{"b":1,\n  "a":\t1, "a":2}', ARRAY['null', '1', NULL]::jsonb[], '<a b="c">d</a>'),
  (2, 'null', 'null', '{}', NULL), (3, NULL, NULL, NULL, NULL), (4, '"text"', '"te\u0041xt"', NULL, NULL), (5, '12345678901234567890.10', '1.0', NULL, NULL);
INSERT INTO app.times VALUES
  (1, '2026-03-29 01:59:59.999999+01', '2026-02-28 24:00', '2026-12-31', '23:59:59.999999', '12:00+05:30', '1 year 2 mons -3 days 04:05:06.7', '[2026-01-01, 2026-02-01)', '[1,10)'),
  (2, 'infinity', '-infinity', 'infinity', '00:00', '24:00-01', '-1 days +00:00:01', 'empty', '(,5]'),
  (3, '0044-03-15 12:00 BC', '4713-01-01 BC', '0001-01-01 BC', NULL, NULL, NULL, NULL, NULL);
INSERT INTO app.shapes VALUES
  (1, 1, ARRAY['a', NULL, 'NULL', '', 'x,"y"', E'\\', '{}'], '[2:3]={1,2}', 'it''s "fine"', '{sad,NULL}', ROW(1, E'a"b,\n(c)'),
   ARRAY[ROW(1, NULL), NULL, ROW(NULL, '')]::app.pair[], '\x00ff5c0a', '0190a2c4-0000-7000-8000-000000000001', '10.0.0.1/8', '10101', '(1.5,-2)', 1),
  (2, 4, '{{a,b},{c,d}}', '{}', 'sad', '{}', ROW(NULL, NULL), '{}', '', NULL, '::1', NULL, NULL, 3), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1);
