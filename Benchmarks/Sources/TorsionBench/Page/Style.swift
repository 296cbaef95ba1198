// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension Page {
    /// Light and dark; colours that a colour-blind reader tells apart by lightness too.
    static let style = """
        :root { color-scheme: light dark; --ink: #1d2329; --soft: #5b6670; --line: #d8dee4;
          --paper: #fff; --torsion: #1f6feb; --twin: #9aa5b1; --peer: #d9822b; --bad: #b42318; }
        @media (prefers-color-scheme: dark) { :root { --ink: #e6eaee; --soft: #9aa5b1;
          --line: #343c45; --paper: #14181c; --torsion: #58a6ff; --twin: #6b7682; --peer: #e3a15b;
          --bad: #ff8a7a; } }
        body { margin: 0; background: var(--paper); color: var(--ink);
          font: 15px/1.5 system-ui, sans-serif; }
        main { max-width: 1000px; margin: 0 auto; padding: 32px 20px 64px; }
        h1 { font-size: 26px; margin: 0 0 8px; }
        h2 { font-size: 18px; margin: 40px 0 0; padding-top: 16px; border-top: 1px solid var(--line); }
        section > p { margin: 2px 0 12px; color: var(--soft); max-width: 75ch; }
        .lead { max-width: 65ch; }
        .facts { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 0; }
        .facts dt { color: var(--soft); } .facts dd { margin: 0; }
        .legend { color: var(--soft); display: flex; flex-wrap: wrap; gap: 4px 8px;
          align-items: center; }
        .key { display: inline-block; width: 14px; height: 14px; border-radius: 3px;
          margin-left: 12px; }
        .key:first-child { margin-left: 0; }
        .key.torsion { background: var(--torsion); } .key.twin { background: var(--twin); }
        .key.peer { background: var(--peer); }
        .key.spread { height: 2px; background: var(--ink); }
        .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr));
          gap: 16px 32px; }
        figure { margin: 0; max-width: 480px; } figcaption { font-weight: 600; margin-bottom: 4px; }
        figcaption span { color: var(--soft); font-weight: 400; }
        svg { width: 100%; height: auto; display: block; }
        svg text { fill: var(--ink); font-size: 12px; dominant-baseline: central; }
        svg .label { text-anchor: end; fill: var(--soft); }
        svg .value { font-variant-numeric: tabular-nums; }
        svg .torsion { fill: var(--torsion); } svg .twin { fill: var(--twin); }
        svg .peer { fill: var(--peer); }
        svg .axis { stroke: var(--line); } svg .whisker { stroke: var(--ink); stroke-width: 1.5; }
        .scroll { overflow-x: auto; margin-top: 12px; }
        table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
        th, td { padding: 3px 12px 3px 0; text-align: right; white-space: nowrap; }
        th:first-child { text-align: left; } thead th { color: var(--soft); font-weight: 500;
          border-bottom: 1px solid var(--line); } tbody th { font-weight: 500; }
        .verdicts { padding-left: 18px; margin: 10px 0 0; } .missed { color: var(--bad); }
        """
}
