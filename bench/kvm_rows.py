# SPDX-License-Identifier: GPL-2.0-only
"""The table of bench/kvm-counts, for itself and for bench/report."""


def count_rows(results):
    """Rows of text, the first the heading; what is nowhere counted is left out."""
    families = list(results["families"])
    rows = [["of one message, 1 B, to a sleeper"] + [results["about"][family] for family in families]]
    keys = {key for family in families for key in results["families"][family]}
    order = ("doorbells", "interrupts", "interrupts sent", "exits", "exits to QEMU", "switched to")
    for what in order:
        names = sorted({key for key in keys if key.split("|")[0] == what})
        for key in names:
            cells = [results["families"][family].get(key, 0) for family in families]
            if any(abs(cell) >= 0.05 for cell in cells):
                rows.append([key.replace("|", " ", 1).replace("|", ": ").rstrip(": ")]
                            + [f"{cell:.2f}" for cell in cells])
        if what == "exits":
            for vm in "ab":
                rows.append([f"exits VM {vm}: all"] + [f"""{sum(
                    n for key, n in results['families'][family].items()
                    if key.startswith(f'exits|VM {vm}|')):.2f}""" for family in families])
    return rows
