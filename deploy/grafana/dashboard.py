#!/usr/bin/env python3
"""Writes the Grafana dashboard: deploy/grafana/dashboard.py > deploy/helm/tailwater/files/dashboard.json

A panel is a line or two here; what Grafana wants besides is added by the functions. A test holds the file against what this prints, and runs
every query on a Prometheus that scrapes a running tailwater.
"""
import json
import sys

DOCS = "https://github.com/tailwater/tailwater/blob/main/docs/"
GROUP = 'namespace=~"$namespace", job="$job"'
EACH = GROUP + ', instance=~"$instance"'
# Upper edges of tailwater_pit, as src/metrics has them.
PIT_EDGES = ["0.001", "0.01", "0.05", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "0.95", "0.99", "0.999"]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def rate(metric, by, labels="", window="$__rate_interval", of="rate"):
    """A counter's rate, or increase, over all processes."""
    inner = f"{of}({metric}{{{EACH}{', ' + labels if labels else ''}}}[{window}])"
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


def increase(metric, by, labels="", window="1h"):
    return rate(metric, by, labels, window, "increase")


def leader(metric):
    """A gauge, of the process that leads: a standby's says nothing."""
    return f'{metric}{{{EACH}}} and on (instance) tailwater_role{{{EACH}, role="leading"}} == 1'


LAG = leader("tailwater_lag_records")


def share(metric, side, by="quantile", window="1h"):
    """The share of the outcomes on a side of the quantile."""
    return increase(metric, by, f'side="{side}"', window) + " / " + increase(metric, by, window=window)


def share_of_events(metric):
    """The share of the events in which something was the matter with a feature."""
    return rate(metric, "feature") + " / on () group_left () " + rate("tailwater_records_total", "", 'outcome="scored"')


def panel(title, unit, queries, description, kind="timeseries", width=8, steps=None, log=False, dashed=(), **more):
    """`queries`: of each its legend and its expression. `steps`: the thresholds, of value and colour. `dashed`: the legends' regular expressions of
    what is a target, no measurement."""
    steps = [{"value": None, "color": "green"}] + [{"value": value, "color": color} for value, color in steps or []]
    is_instant = kind != "timeseries"
    defaults = {"unit": unit, "thresholds": {"mode": "absolute", "steps": steps}, **more.pop("defaults", {})}
    if kind == "timeseries":
        custom = {"lineWidth": 1, "fillOpacity": 0, "showPoints": "never", "thresholdsStyle": {"mode": "line" if len(steps) > 1 else "off"}}
        if log:
            custom["scaleDistribution"] = {"type": "log", "log": 10}
        defaults["custom"] = custom
        options = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    else:
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}}
        if kind == "bargauge":
            options |= {"orientation": "vertical", "displayMode": "basic"}
    overrides = [
        {"matcher": {"id": "byRegexp", "options": pattern},
         "properties": [{"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [6, 6]}}]}
        for pattern in dashed
    ]
    return {
        "title": title,
        "type": kind,
        "description": description,
        "datasource": SOURCE,
        "width": width,
        "fieldConfig": {"defaults": defaults, "overrides": overrides},
        "options": options | more.pop("options", {}),
        "targets": [
            {"refId": chr(ord("A") + nth), "datasource": SOURCE, "expr": expr, "legendFormat": legend, "instant": is_instant, "range": not is_instant}
            | ({"format": "table"} if kind == "table" else {})
            for nth, (legend, expr) in enumerate(queries)
        ],
        **more,
    }


def furthest_off(metric, by, window):
    """The ten whose coverage is furthest off, in standard errors."""
    level = f"max by (quantile) (group:tailwater_quantile_level:max{{{GROUP}}})"
    below, outcomes = increase(metric, by, 'side="below"', window), increase(metric, by, window=window)
    join = "* on (quantile) group_left ()"
    return f"topk(10, abs({below} - {outcomes} {join} {level}) / sqrt({outcomes} {join} ({level} * (1 - {level}))))"


def pit_bars():
    """Of each bin of the PIT the share of targets over its width: 1 where calibrated."""
    in_all = f"sum(increase(tailwater_pit_count{{{EACH}}}[$__range]))"
    bins = []
    for low, high in zip(["0"] + PIT_EDGES, PIT_EDGES + ["1"]):
        upto = [f'sum(increase(tailwater_pit_bucket{{{EACH}, le="{edge}"}}[$__range]))' for edge in (low, high)]
        within = f"({in_all} - {upto[0]})" if high == "1" else upto[1] if low == "0" else f"({upto[1]} - {upto[0]})"
        bins.append((f"{low} to {high}", f"{within} / {in_all} / ({high} - {low})"))
    return bins


STREAM = [
    panel("Role", "none", [("{{role}}", f"sum by (role) (tailwater_role{{{EACH}}}) > 0")],
          "How many processes do what. Normal: one leading, the others standby. None leading for more than seconds: nothing is scored.",
          kind="stat", width=6, options={"textMode": "value_and_name"}),
    panel("Alerts by subject", "none",
          [("{{subject}}", f'count by (subject) (ALERTS{{{GROUP}, alertname=~"Tailwater.+", alertstate="firing"}}) or vector(0)')],
          "How many alerts fire, by where to look first: at the stream, the model or the world. Normal: 0.",
          kind="stat", width=6, steps=[(1, "red")], options={"textMode": "value_and_name"}),
    panel("Behind", "s",
          [("", f"(sum({LAG}) > 0) / " + rate("tailwater_records_total", "", 'outcome=~"scored|rejected"') + f" or sum({LAG}) == 0")],
          "How long the lag takes at the present rate. Normal: below a second or two. Infinite (red): records wait and none is taken. No value: nobody leads.",
          kind="stat", width=6, steps=[(60, "orange"), (600, "red")]),
    panel("Last snapshot", "s", [("", leader("tailwater_state_age_seconds"))],
          "The age of the last snapshot. Normal: up to state.interval (10 s), more where nothing comes in.", kind="stat", width=6, steps=[(600, "red")]),
    panel("Records", "cps", [("{{outcome}}", rate("tailwater_records_total", "outcome"))],
          "What becomes of records, a second. Normal: learned follows scored, later by as much as targets are; rejected and expired are near 0."),
    panel("Lag", "short", [("partition {{partition}}", f"sum by (partition) (tailwater_lag_records{{{EACH}}})")],
          "Records not yet taken. Normal: near 0, a hump after a start or a burst. A partition that stays above the others is hot."),
    panel("Latency", "s",
          [(f"{q}", f"histogram_quantile({q}, {rate('tailwater_latency_seconds_bucket', 'le')})") for q in ("0.5", "0.95", "0.99")],
          "From a record's Kafka timestamp to the commit of its score, in quantiles. Normal: some tens of milliseconds; as much as the lag after a start.",
          log=True),
    panel("Event age", "s", [("{{instance}}", leader("tailwater_event_age_seconds"))],
          "How far the time of the last event lies behind the clock. Normal: steady. Rising by a second a second: nothing comes in; years: a replay."),
    panel("Rejected", "cps", [("{{reason}}", rate("tailwater_rejected_total", "reason"))],
          "Records that can't be used, by reason. Normal: 0. The topic output.rejected has each with what is wrong with it."),
    panel("Transactions and rebalances", "cps",
          [("{{result}}", rate("tailwater_transactions_total", "result")), ("rebalances", rate("tailwater_rebalances_total", ""))],
          "How transactions end (exactly-once), and changes of assignment. Normal: committed alone."),
    panel("Time by stage", "percentunit", [("{{stage}}", rate("tailwater_stage_seconds_sum", "stage"))],
          "The share of the time spent in each stage; but for committing all are on one thread. Normal: these together well below 100 %.",
          steps=[(1, "red")]),
    panel("Paused", "percentunit", [("paused", rate("tailwater_paused_seconds_total", ""))],
          "The share of the time in which the input was paused because a queue was full. Normal: 0; more in a backlog, 100 % when brokers take nothing."),
    panel("Waiting for targets", "short",
          [("{{instance}}", leader("tailwater_waiting_targets")), ("most", f"max(tailwater_waiting_targets_max{{{EACH}}})")],
          "Scored events whose target is not known yet. Normal: rate times how late targets are. At the dashed line further ones expire.",
          dashed=["most"]),
    panel("Memory", "bytes", [("{{instance}}", f"process_resident_memory_bytes{{{EACH}}}")],
          "Resident memory. Normal: flat after the first minutes, some 200 to 300 MiB, more for more that waits for targets.", width=12),
    panel("Processors", "short", [("{{instance}}", f"rate(process_cpu_seconds_total{{{EACH}}}[$__rate_interval])")],
          "How many processors are used. Normal: below two; near two the stream is as fast as it can be.", width=12),
]

MODEL = [
    panel("Log score", "short",
          [("model", leader("tailwater_log_score_nats")), ("baseline, without features", leader("tailwater_baseline_log_score_nats"))],
          "Mean log score of the last 10,000 or so targets, in nats: higher is better. Normal: above the dashed line, and steady. Both down: the world is "
          "harder to tell. Model down to the baseline: the features no longer help.", dashed=["baseline.*"]),
    panel("Loss and gradient", "short", [("loss, nats", leader("tailwater_loss_nats")), ("gradient's norm", leader("tailwater_gradient_norm"))],
          "Of the last step of learning. Normal: noisy about a level. A norm that grows without end: a feature or a target of extreme size."),
    panel("Updates", "cps",
          [("taken", rate("tailwater_updates_total", "")), ("clipped", rate("tailwater_updates_clipped_total", "")),
           ("skipped: {{reason}}", rate("tailwater_updates_skipped_total", "reason"))],
          "Steps of learning a second. Normal: as many as mini-batches of targets come; some clipped, none skipped."),
    panel("Coverage", "percentunit",
          [("{{quantile}}", share("tailwater_quantile_outcomes_total", "below")), ("{{quantile}} promised", f"group:tailwater_quantile_level:max{{{GROUP}}}")],
          "The share of the last hour's targets at or below each quantile, and what was promised (dashed). Normal: they lie on each other, but for the "
          "noise of few outcomes.", dashed=[".*promised"]),
    panel("PIT", "none", pit_bars(),
          "How many targets lie where in their distribution, over the time shown, as a multiple of what should. Normal: 1 everywhere. High at both ends: "
          "distributions too narrow. High in the middle: too wide. A slope: too low or too high.", kind="bargauge", width=16, defaults={"min": 0}),
    panel("e-values", "short",
          [("quantile {{quantile}}", leader("tailwater_quantile_e_value")), ("above {{threshold}}", leader("tailwater_exceed_e_value"))],
          "Evidence that a figure does not keep its promise. Normal: about 1, below 100. At 1,000 (red) it is an alarm: by chance one figure reaches it in one stream of a "
          "thousand.",
          steps=[(1000, "red")], log=True),
    panel("Drift and alarms", "short",
          [("drift: {{signal}}", increase("tailwater_drift_total", "signal")), ("calibration alarms", increase("tailwater_calibration_alarms_total", ""))],
          "Changes of the stream, and alarms of calibration, in the last hour. Normal: 0."),
    panel("Missing features", "percentunit",
          [("{{feature}}", share_of_events("tailwater_missing_total"))],
          "The share of events in which a feature was null. Normal: what it always was. A jump: a field broke upstream."),
    panel("Unknown categories", "percentunit",
          [("{{feature}}", share_of_events("tailwater_unknown_category_total"))],
          "The share of events in which a category was not in its vocabulary. Normal: near 0 after the first days. A jump: another spelling, or a new world."),
    panel("State", "bytes", [("snapshot", leader("tailwater_state_bytes"))],
          "The size of the last snapshot. Normal: steady, and more with more events that wait."),
    panel("Restores", "s", [("{{instance}}", f"tailwater_restore_seconds{{{EACH}}}")],
          "How long the last restore of the state took. Normal: below a second, longer after long pauses between snapshots."),
]

TAILS = [
    panel("Exceedances, observed over expected", "short",
          [("above {{threshold}}", f"{increase('tailwater_exceed_observed_total', 'threshold')} / ({increase('tailwater_exceed_expected_total', 'threshold')} > 0)")],
          "How often a threshold was exceeded in the last hour, over the sum of the probabilities that were published. Normal: about 1, noisy where few are "
          "expected. Above 1: the tail is heavier than said.", steps=[(1, "#808080")]),
    panel("Exceedances", "short",
          [("above {{threshold}}", increase("tailwater_exceed_observed_total", "threshold")),
           ("above {{threshold}}, expected", increase("tailwater_exceed_expected_total", "threshold"))],
          "Targets above each threshold in the last hour, and how many were expected (dashed). Normal: they go together.", log=True, dashed=[".*expected"]),
    panel("Tail index", "short", [("{{side}}", leader("tailwater_tail_index"))],
          "How heavy the tails are, in the median over the last events: 0 Gaussian, a third like Student's t with three degrees of freedom, from 1 on (red) without a "
          "mean; shortfalls are null from 0.9 on. Normal: steady.", steps=[(1, "red")]),
    panel("Above the high quantiles", "percentunit",
          [("{{quantile}}", increase("tailwater_quantile_outcomes_total", "quantile", 'side="above", quantile=~"0[.]9.*"') + " / "
            + increase("tailwater_quantile_outcomes_total", "quantile", 'quantile=~"0[.]9.*"')),
           ("{{quantile}} promised", f'1 - group:tailwater_quantile_level:max{{{GROUP}, quantile=~"0[.]9.*"}}')],
          "The share of the last hour's targets above each high quantile, and what was promised (dashed). Normal: they lie on each other, but for the noise of few "
          "outcomes.", log=True, dashed=[".*promised"]),
    panel("Worst segments by coverage", "short",
          [("{{segment}} at {{quantile}}", furthest_off("tailwater_segment_quantile_outcomes_total", "segment, quantile", "6h"))],
          "The ten segments (monitor.by) and quantiles whose coverage over six hours is furthest off, in standard errors of independent outcomes. Normal: below 4; more "
          "where outcomes come in clusters. Needs [monitor] by.", kind="bargauge", steps=[(4, "orange"), (8, "red")],
          options={"orientation": "horizontal"}),
    panel("Worst segments by log score", "short",
          [("{{segment}}", f"bottomk(10, max by (segment) ({leader('tailwater_segment_log_score_nats')}))")],
          "The ten segments (monitor.by) whose targets are told worst, in nats. Normal: some are harder than others, and stay so. Needs [monitor] by.",
          kind="bargauge", options={"orientation": "horizontal"}),
]


def laid_out(rows):
    """Panels with their places: rows of 24 columns."""
    panels, y = [], 0
    for title, contents in rows:
        panels.append({"type": "row", "title": title, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []})
        x, y, height = 0, y + 1, 0
        for content in contents:
            width = content.pop("width")
            h = 4 if content["type"] == "stat" else 8
            if x + width > 24:
                x, y, height = 0, y + height, 0
            panels.append(content | {"gridPos": {"x": x, "y": y, "w": width, "h": h}})
            x, height = x + width, max(height, h)
        y += height
    return [content | {"id": nth} for nth, content in enumerate(panels, 1)]


def variable(name, label, query, **more):
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "refresh": 2, "sort": 1,
            "query": {"query": query, "refId": name}, "definition": query} | more


EVERY = {"includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}

dashboard = {
    "title": "tailwater",
    "uid": "tailwater",
    "description": "Is it the stream, the model or the world? A row for each question: does the stream flow, does the model hold, what do the tails do.",
    "tags": ["tailwater", "kafka"],
    "schemaVersion": 39,
    "editable": True,
    "graphTooltip": 1,
    "time": {"from": "now-6h", "to": "now"},
    "refresh": "30s",
    "timezone": "",
    "templating": {"list": [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        variable("namespace", "Namespace", "label_values(tailwater_build_info, namespace)", **EVERY),
        variable("job", "Group (job)", 'label_values(tailwater_build_info{namespace=~"$namespace"}, job)'),
        variable("instance", "Process", f"label_values(tailwater_build_info{{{GROUP}}}, instance)", multi=True, **EVERY),
    ]},
    "annotations": {"list": [{
        "name": "Alerts", "enable": True, "datasource": SOURCE, "iconColor": "red",
        "expr": f'ALERTS{{{GROUP}, alertname=~"Tailwater.+", alertstate="firing"}}',
        "titleFormat": "{{alertname}}", "textFormat": "{{subject}}, {{severity}}", "step": "30s",
    }]},
    "links": [
        {"title": title, "type": "link", "url": DOCS + page, "targetBlank": True, "icon": "doc"}
        for title, page in (("Runbook", "runbook.md"), ("What the metrics mean", "metrics.md"))
    ],
    "panels": laid_out([("Stream", STREAM), ("Model", MODEL), ("Tails", TAILS)]),
}

json.dump(dashboard, sys.stdout, indent=1, ensure_ascii=False)
print()
