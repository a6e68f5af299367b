"""Style of the sections that scfmbench writes itself; the colours of the frame come from MultiQC's theme."""

from __future__ import annotations

from scfm.report.page.style_figures import FIGURE_CSS

CSS = (
    FIGURE_CSS
    + """
#page_title{font-size:1.45rem;margin:0 0 .2rem}
.scfm-skip{position:absolute;left:-100rem}
.scfm-skip:focus{left:.5rem;top:.5rem;z-index:2000;background:#fff;padding:.4rem .8rem}
.mqc-nav a{color:var(--bs-body-color,#212529)}
.mqc-nav a:hover,.mqc-nav a:focus{color:#08519c;text-decoration:underline}
.footer p{color:var(--bs-body-color,#212529)}
main a,.footer p a{color:#0a58ca}
[data-bs-theme=dark] main a,[data-bs-theme=dark] .footer p a{color:#8bb9fe}
.scfm-messages details details{margin:.25rem 0}
.scfm-messages p{margin:.2rem 0}
.scfm-svg{width:100%;max-width:1000px;min-width:560px;font-size:12px;font-family:inherit}
.scfm-svg text{fill:var(--bs-body-color,#222)}
.scfm-svg .scfm-axis{font-size:13px}
.scfm-grid-line{stroke:var(--bs-border-color,#ddd);stroke-width:1}
.scfm-key{display:inline-block;margin-right:.9rem;font-size:.88rem}
.scfm-key i{display:inline-block;width:.75rem;height:.75rem;border-radius:50%;margin-right:.3rem;vertical-align:-1px}
.scfm-grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(26rem,1fr));gap:.6rem}
.scfm-answer{border:1px solid var(--bs-border-color,#ddd);border-left:4px solid #2171b5;border-radius:4px;
  padding:.55rem .9rem;margin:0 0 .7rem}
.scfm-answer h4{margin:0 0 .3rem;font-size:1.05rem}
.scfm-answer ul{margin:.2rem 0 0;padding-left:1.1rem}
.scfm-answer li{margin-bottom:.15rem}
.scfm-muted{color:var(--bs-secondary-color,#6c757d);font-size:.9em}
.scfm-messages details,.scfm-messages .scfm-line{border:1px solid var(--bs-border-color,#ddd);border-left-width:4px;
  border-radius:3px;margin:0 0 .25rem;padding:.25rem .6rem}
.scfm-messages .scfm-good{border-left-color:#2e8b57}
.scfm-messages .scfm-error{border-left-color:#c0392b}
.scfm-messages .scfm-warning{border-left-color:#e0a100}
.scfm-messages .scfm-info{border-left-color:#5b8db8}
.scfm-messages summary{cursor:pointer}
.scfm-messages ul{margin:.3rem 0 .2rem;padding-left:1.2rem}
.scfm-badge{display:inline-block;min-width:5.6rem;text-align:center;font-size:.78rem;font-weight:600;border-radius:3px;
  padding:.05rem .35rem;margin-right:.45rem;color:#fff}
.scfm-error .scfm-badge{background:#c0392b}
.scfm-warning .scfm-badge{background:#e0a100;color:#1a1a1a}
.scfm-info .scfm-badge{background:#5b8db8}
.scfm-scroll{overflow-x:auto;margin-bottom:.6rem}
.scfm-heat{border-collapse:separate;border-spacing:2px;font-size:.85rem}
.scfm-heat td{min-width:3.1rem;text-align:center;padding:.18rem .35rem;border-radius:2px}
.scfm-heat th{font-weight:500;padding:.15rem .5rem;white-space:nowrap;text-align:right}
.scfm-heat thead th{vertical-align:bottom;text-align:center;white-space:normal;max-width:8rem;line-height:1.15}
.scfm-heat tbody th{position:sticky;left:0;background:var(--bs-body-bg,#fff)}
.scfm-heat td.scfm-none{background:var(--bs-tertiary-bg,#eee);color:var(--bs-secondary-color,#565e64)}
.scfm-heat td.scfm-ok{background:#deebf7;color:#08306b}
.scfm-heat td.scfm-failed{background:#a4161a;color:#fff;font-weight:600}
.scfm-heat td.scfm-na{background:#ececec;color:#555}
.scfm-table{border-collapse:collapse;font-size:.88rem}
.scfm-table td,.scfm-table th{padding:.15rem .5rem;border-bottom:1px solid var(--bs-border-color,#ddd);
  vertical-align:top;text-align:left;line-height:1.35}
.scfm-on>.scfm-panel>.scfm-panel-title{display:none}
.scfm-on .scfm-dataset-name{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.mqc-toolbox-label{color:var(--bs-body-color,#212529)!important}
.scfm-panel-title{font-weight:600;margin:.4rem 0 .2rem}
.scfm-switch{display:flex;flex-wrap:wrap;gap:.3rem;align-items:center;margin:.2rem 0 .5rem}
.scfm-tool,.scfm-sort{font:inherit;color:inherit;background:none;border:1px solid var(--bs-border-color,#adb5bd);
  border-radius:3px;padding:.12rem .6rem;font-size:.88rem;cursor:pointer;text-align:inherit}
.scfm-tool[aria-pressed=true]{background:#08519c;border-color:#08519c;color:#fff}
.scfm-sort{border:0;padding:0;font-size:inherit;font-weight:inherit}
.scfm-sort::after{content:" \\2195";opacity:.45}
[aria-sort=ascending] .scfm-sort::after{content:" \\2191";opacity:1}
[aria-sort=descending] .scfm-sort::after{content:" \\2193";opacity:1}
.scfm-tools,.scfm-source{margin:-.3rem 0 .6rem;font-size:.85rem}
.scfm-tools .scfm-tool{font-size:.8rem;padding:.05rem .45rem}
.scfm-chapter :focus-visible{outline:3px solid #08519c;outline-offset:2px}
.scfm-chapter{margin-top:1.6rem}
.scfm-chapter h2{font-size:1.5rem;border-bottom:2px solid #08519c;padding-bottom:.2rem;margin:0 0 .3rem}
.scfm-fold>summary{cursor:pointer}
.scfm-fold>summary h2{display:inline-block;border:0}
.scfm-heading{font-size:1.15rem;margin:.9rem 0 .2rem}
.scfm-intro p{margin:0 0 .3rem}
.mqc-section-description{max-width:62rem;font-size:.92rem}
.scfm-facts{display:grid;grid-template-columns:max-content 1fr;gap:.1rem .8rem;margin:0 0 .6rem}
.scfm-facts dd{margin:0;overflow-wrap:anywhere}
.scfm-facts dt{font-weight:600}
.scfm-facts ul{margin:0;padding-left:1.1rem}
.scfm-state,.scfm-readers{margin:0 0 .4rem}
.scfm-answer p{margin:0 0 .2rem}
@media (max-width:767px){.scfm-facts{grid-template-columns:1fr}.scfm-facts dd{margin:0 0 .3rem}}
.scfm-strong{font-weight:700}
.scfm-bad{color:#a4161a;font-weight:600}
.scfm-reasons li.scfm-bad{color:#a4161a;font-weight:400}
.scfm-control>*{font-style:italic}
tr.scfm-control:not(.scfm-control+.scfm-control)>*{border-top:2px solid var(--bs-secondary-color,#6c757d)}
.scfm-wide::before{content:"Wider than the page: scroll sideways \\2192";display:block;position:sticky;left:0;
  font-size:.8rem;color:var(--bs-secondary-color,#565e64)}
.scfm-figure{margin:0 0 1rem}
.scfm-figure img{max-width:100%;height:auto;border:1px solid var(--bs-border-color,#ddd);background:#fff}
.scfm-figure figcaption{font-size:.88rem;margin-bottom:.2rem}
.scfm-loud{border:2px solid #c0392b;border-radius:4px;padding:.5rem .9rem;margin:0 0 .7rem}
.scfm-mild{border-color:#e0a100}
.scfm-pairs td{line-height:1.2;min-width:6.2rem}
.scfm-pairs td span{font-size:.76rem}
.scfm-heat td.scfm-near,.scfm-cell.scfm-near{background:#cfe2f3;color:#0b3d66}
.scfm-heat td.scfm-far,.scfm-cell.scfm-far{background:#fbd3a8;color:#6b3500}
.scfm-heat td.scfm-soft{background:none;color:inherit;box-shadow:inset 0 0 0 2px #7fb0dc}
.scfm-heat td.scfm-far.scfm-soft{box-shadow:inset 0 0 0 2px #ef9b47}
.scfm-cell{padding:0 .35rem;border-radius:2px}
main .btn-group{flex-wrap:wrap}
main .row{margin-inline:0}
@media (max-width:767px){.mqc-toolbox{display:none}.mainpage>.p-4{padding:.6rem!important}
  .scfm-grid{grid-template-columns:1fr}.scfm-heat{font-size:.78rem}}
@media print{.side-nav-wrapper,.mqc-toolbox,.scfm-tool,.scfm-source,.footer,.scfm-wide::before{display:none!important}
  .scfm-dataset,.scfm-panel,.scfm-on>.scfm-panel>.scfm-panel-title{display:block!important}
  .scfm-on .scfm-dataset-name{position:static;width:auto;height:auto;clip-path:none}
  .scfm-scroll{overflow:visible}.mqc-section{break-inside:avoid-page}}
"""
)
