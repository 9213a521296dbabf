"""The look of the report: light and dark, six colours that stay apart for colour-blind readers."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2530; --soft: #6a7683; --line: #e3e8ee; --back: #f4f6f9; --card: #fff;
  --c0: #2867b2; --c1: #e08214; --c2: #1b9e77; --c3: #b2457f; --c4: #7a68b8; --c5: #8a8f2f; --mark: #c0392b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf1; --soft: #93a0ae; --line: #2c3642; --back: #11161c;
  --card: #1a2129; --c0: #6aa5ea; --c1: #f0a54a; --c2: #4cc79f; --c3: #df7db3; --c4: #a99ae0; --c5: #c0c565; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; color: var(--ink); background: var(--back);
  max-width: 1240px; margin: 0 auto; padding: 2rem 1.2rem 4rem; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
h1 { font-size: 1.9rem; letter-spacing: -.02em; margin: 0; }
h2 { font-size: 1.3rem; letter-spacing: -.01em; margin: 2.6rem 0 .1rem; }
p { margin: .2rem 0 1rem; } .soft { color: var(--soft); fill: var(--soft); font-weight: 400; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: .8rem; margin: 1.2rem 0; }
.card { background: var(--card); border-radius: 12px; padding: .9rem 1rem; border: 1px solid var(--line);
  border-top: 4px solid var(--c0); }
.card b { display: block; font-size: 2rem; line-height: 1.15; letter-spacing: -.03em; }
.card span { display: block; } .card .range { font-size: .85rem; color: var(--soft); }
.plots { columns: 2 460px; column-gap: .9rem; }
figure { margin: 0 0 .9rem; break-inside: avoid; padding: .9rem 1rem .6rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 12px; }
figcaption { font-weight: 600; } svg { width: 100%; height: auto; font-size: 12px; display: block; }
.keys { min-height: .4rem; font-size: .82rem; } .key { margin-right: 1rem; color: var(--soft); display: inline-block; }
.key::before { content: ""; display: inline-block; width: .7em; height: .7em; border-radius: 2px; margin-right: .35em;
  background: var(--tone); }
svg text { fill: var(--ink); } svg text.tick, svg text.soft, svg tspan.soft { fill: var(--soft); }
svg .tick { font-size: 11px; }
.grid { stroke: var(--line); fill: none; } .zero { stroke: var(--soft); fill: none; }
.whisker { stroke: var(--ink); stroke-opacity: .65; fill: none; } .mark { stroke: var(--mark); stroke-dasharray: 4 3; }
.c0 { --tone: var(--c0); } .c1 { --tone: var(--c1); } .c2 { --tone: var(--c2); } .c3 { --tone: var(--c3); }
.c4 { --tone: var(--c4); } .c5 { --tone: var(--c5); } .card { border-top-color: var(--tone); }
.bar { fill: var(--tone); } .line { stroke: var(--tone); stroke-width: 2.2; fill: none; stroke-linejoin: round; }
.band { fill: var(--tone); fill-opacity: .14; } .dot.sure { fill: var(--tone); }
.dot.open { fill: var(--card); stroke: var(--tone); stroke-width: 2; }
.table { overflow-x: auto; margin: .9rem 0; background: var(--card); border: 1px solid var(--line);
  border-radius: 12px; }
table { border-collapse: collapse; width: 100%; font-size: .84rem; }
th { font-weight: 600; color: var(--soft); } tr + tr td, thead + tbody td { border-top: 1px solid var(--line); }
th, td { padding: .4rem .6rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td small { color: var(--soft); } details { margin: .4rem 0; } summary { cursor: pointer; color: var(--soft); }
pre { overflow-x: auto; padding: .6rem .8rem; background: var(--back); border-radius: 8px; margin: .3rem 0; }
"""
