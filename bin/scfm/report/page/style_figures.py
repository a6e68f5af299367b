"""Style of the figures: bars and circles of the overview, the trade-off, heat maps and method cards.

One hue of blue, orange and grey only, so that no reader needs to tell red from green; text and marks have the contrast
that WCAG AA asks for (4.5 and 3 to 1).
"""

FIGURE_CSS = (
    """
.scfm-overview{border-collapse:collapse;font-size:.82rem;max-width:930px;margin-right:1.9rem}
.scfm-overview th,.scfm-overview td{padding:.14rem .35rem;white-space:nowrap;vertical-align:middle}
.scfm-overview thead th{vertical-align:bottom;font-weight:600;text-align:left;white-space:normal;line-height:1.15}
.scfm-overview small{display:block;font-weight:400;font-size:.72rem}
.scfm-overview tbody th[scope=row]{font-weight:400;text-align:left;position:sticky;left:0;min-width:10rem;
  max-width:14rem;
  white-space:normal;line-height:1.2;background:var(--bs-body-bg,#fff)}
.scfm-overview .scfm-part th{font-weight:600;text-align:left;padding-top:.5rem;
  border-top:1px solid var(--bs-border-color,#999)}
.scfm-overview tbody tr:hover td{background:var(--bs-tertiary-bg,#f4f6f8)}
.scfm-note{color:#8a3b00}
.scfm-warn{display:inline-block;background:#8a3b00;color:#fff;border-radius:.6rem;font-size:.7rem;font-weight:600;
  padding:0 .35rem;margin-left:.3rem;cursor:help;text-decoration:none}
.scfm-track{position:relative;display:inline-block;width:52px;height:14px;background:#e4e9ee;margin-right:4px;
  vertical-align:-2px}
.scfm-track i{position:absolute;left:0;top:0;bottom:0}
.scfm-track b{position:absolute;top:6px;height:2px;min-width:3px;background:#111}
.scfm-track em{position:absolute;top:-2px;bottom:-2px;width:2px;background:#111}
.scfm-blue1{background:#5a9bd4}.scfm-blue2{background:#2f7ebc}.scfm-blue3{background:#0b4a8b}
.scfm-grey{background:#8a8f94}.scfm-orange{background:#e07b26}
.scfm-overview th.scfm-turned:not([aria-sort]) .scfm-sort::after{content:""}
.scfm-overview .scfm-weak{min-width:7rem;max-width:8.6rem;white-space:normal;overflow-wrap:anywhere;line-height:1.15;
  font-size:.76rem}
.scfm-overview .scfm-turned{height:11.4rem;width:20px;padding:0;position:relative}
.scfm-turned span{position:absolute;bottom:.2rem;left:50%;transform:rotate(-75deg);transform-origin:0 100%;
  white-space:nowrap;font-weight:400;font-size:.72rem}
.scfm-overview .scfm-dots{width:20px;min-width:20px;padding:0;text-align:center}
.scfm-overview td.scfm-first{border-left:1px solid var(--bs-border-color,#ccc)}
.scfm-dots i{display:inline-block;border-radius:50%;vertical-align:middle}
"""
    + "".join(
        f".scfm-d{i}{{width:{5 + 1.2 * i:.1f}px;height:{5 + 1.2 * i:.1f}px;"
        f"background:rgb({round(90 - 82 * i / 10)},{round(155 - 107 * i / 10)},{round(212 - 105 * i / 10)})}}"
        for i in range(11)
    )
    + """
.scfm-plot{display:block;width:100%;max-width:860px;height:auto;background:#fff;font-family:inherit}
.scfm-plot text{font-family:inherit!important}
.scfm-broad{min-width:480px}
.scfm-narrow-only{display:none}
.scfm-heat td.scfm-few{background:var(--bs-tertiary-bg,#eee);color:var(--bs-secondary-color,#565e64)}
.scfm-heat td.scfm-lowest{box-shadow:inset 0 0 0 2px #c25a00}
.scfm-card{border:1px solid var(--bs-border-color,#ccc);border-radius:4px;margin:0 0 .35rem;padding:.3rem .7rem}
.scfm-card>summary{cursor:pointer}
.scfm-card h5{font-size:.95rem;margin:.6rem 0 .2rem}
.scfm-curve{max-width:430px}
.scfm-facts{display:grid;grid-template-columns:max-content 1fr;gap:.1rem .9rem;font-size:.85rem;margin:0}
.scfm-facts dt{font-weight:500}
.scfm-facts dd{margin:0;overflow-wrap:anywhere}
.scfm-said{margin:.2rem 0 .5rem;padding-left:1.2rem}
.scfm-points{columns:2;font-size:.8rem;line-height:1.25;padding-left:1.6rem;margin:.3rem 0}
.scfm-key i.scfm-look-method{background:#0b4a8b}
.scfm-look-corrected{color:#1f5f9e}
.scfm-key i.scfm-look-model{background:#e07b26;border-radius:0}
.scfm-key i.scfm-look-not_ranked{background:#fff;border:1.5px solid #5f6469}
@media (max-width:600px){.scfm-wide-only{display:none}.scfm-narrow-only{display:block}
  .scfm-facts{grid-template-columns:1fr}
  .scfm-overview .scfm-turned,.scfm-overview .scfm-dots{display:none}
  .scfm-overview tbody th[scope=row]{min-width:0;max-width:8.5rem}}
"""
)
