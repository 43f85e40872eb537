// A dashboard's file, drawn by Grafana's own components: what stands here is what Grafana's server and its panels'
// shells would do around them. It is served as if by Prometheus itself; `window.picture` has the dashboard, the seconds
// that are shown until `to`, and those between scrapes.
import {
  applyFieldOverrides, createTheme, dateTime, getDisplayProcessor, getDisplayValueAlignmentFactors,
  getFieldDisplayValues, identityOverrideProcessor, standardFieldConfigEditorRegistry, standardTransformers,
  standardTransformersRegistry, ThemeContext, toDataFrame, transformDataFrame,
} from '@grafana/data';
import { BarGauge, BigValue, GlobalStyles, Icon, PanelChrome, Table, TimeSeries, VizRepeater } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { firstValueFrom } from 'rxjs';

const { dashboard, seconds, to, scrape } = window.picture;
const theme = createTheme({ colors: { mode: 'dark' } });
const GAP = 8, ROW = 30, COLUMN = (window.innerWidth - 2 * GAP + GAP) / 24;
const timeRange = { from: dateTime((to - seconds) * 1000), to: dateTime(to * 1000) };
timeRange.raw = { from: timeRange.from, to: timeRange.to };

// What the panels of Grafana have where a file says nothing.
const BY_VALUE = { color: { mode: 'thresholds' } };
const LINES = { color: { mode: 'palette-classic' }, custom: {
  drawStyle: 'line', lineInterpolation: 'linear', pointSize: 5, scaleDistribution: { type: 'linear' },
  gradientMode: 'none', axisPlacement: 'auto', thresholdsStyle: { mode: 'off' },
} };
const THRESHOLDS = { mode: 'absolute', steps: [{ value: null, color: 'green' }, { value: 80, color: 'red' }] };
const OPTIONS = {
  stat: { justifyMode: 'auto', wideLayout: true, orientation: 'auto' },
  bargauge: { valueMode: 'color', namePlacement: 'auto', showUnfilled: true },
};

const used = [LINES, ...dashboard.panels.map((panel) => panel.fieldConfig?.defaults)];
const customs = new Set(used.flatMap((each) => Object.keys(each?.custom ?? {})));
const COMMON = { theme, timeZone: 'utc', replaceVariables: (text) => text };
const option = (path, isCustom) => ({ id: isCustom ? `custom.${path}` : path, path, isCustom, name: path,
  process: identityOverrideProcessor, shouldApply: () => true });
standardFieldConfigEditorRegistry.setInit(() => [
  ...'unit min max decimals noValue color thresholds mappings'.split(' ').map((path) => option(path, false)),
  ...[...customs].map((path) => option(path, true)),
]);
const { organizeFieldsTransformer: organize } = standardTransformers;
standardTransformersRegistry.setInit(() => [{ id: organize.id, name: organize.name, transformation: organize }]);

async function ask(target, width) {
  const step = Math.max(scrape, Math.ceil(seconds / width));
  const rate = Math.max(step + scrape, 4 * scrape);
  const filled = { __rate_interval: `${rate}s`, __interval: `${step}s`, __range: `${seconds}s` };
  for (const each of dashboard.templating.list) filled[each.name] ??= each.allValue;
  const query = target.expr.replace(/\$(\w+)/g, (_, name) => filled[name]);
  const end = Math.floor(to / step) * step;
  const asked = target.instant ? { query, time: to } : { query, start: end - seconds, end, step };
  const path = `/api/v1/${target.instant ? 'query' : 'query_range'}`;
  const answer = await fetch(path, { method: 'POST', body: new URLSearchParams(asked) });
  const { data, error } = await answer.json();
  if (error) throw new Error(`${query}: ${error}`);
  const series = data.result.map(({ metric, value, values = [value] }) => ({ metric, values }));
  return target.format === 'table' ? table(target, series) : series.map((each) => frame(target, each, step));
}

function frame(target, { metric, values }, step) {
  const { __name__, ...labels } = metric;
  const name = target.legendFormat.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => metric[label] ?? '') || target.expr;
  return toDataFrame({ refId: target.refId, name, fields: [
    { name: 'Time', type: 'time', config: { interval: step * 1000 }, values: values.map(([at]) => at * 1000) },
    { name: 'Value', type: 'number', labels, config: { displayNameFromDS: name },
      values: values.map(([, value]) => Number(value)) },
  ] });
}

function table(target, series) {
  const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return [toDataFrame({ refId: target.refId, fields: [
    { name: 'Time', type: 'time', values: series.map(({ values: [[at]] }) => at * 1000) },
    ...labels.map((name) => ({ name, type: 'string', values: series.map(({ metric }) => metric[name] ?? '') })),
    { name: 'Value', type: 'number', values: series.map(({ values: [[, value]] }) => Number(value)) },
  ] })];
}

async function load(panel) {
  const found = await Promise.all((panel.targets ?? []).map((target) => ask(target, panel.gridPos.w * COLUMN)));
  const frames = await firstValueFrom(transformDataFrame(panel.transformations ?? [], found.flat()));
  const base = panel.type === 'timeseries' ? LINES : BY_VALUE, own = panel.fieldConfig.defaults;
  const thresholds = structuredClone(own.thresholds ?? THRESHOLDS);
  thresholds.steps[0].value = -Infinity;
  const defaults = { ...base, ...own, thresholds, custom: { ...base.custom, ...own.custom } };
  const fieldConfig = { defaults, overrides: panel.fieldConfig.overrides };
  const data = applyFieldOverrides({ data: frames, fieldConfig, ...COMMON });
  return { panel: { ...panel, options: { ...OPTIONS[panel.type], ...panel.options } }, fieldConfig, data };
}

function Values({ loaded: { panel: { options, type }, fieldConfig, data }, width, height }) {
  const isStat = type === 'stat';
  const getValues = () => getFieldDisplayValues({ fieldConfig, reduceOptions: options.reduceOptions, data, ...COMMON,
    sparkline: isStat && options.graphMode !== 'none' });
  const renderValue = ({ value: { display, field, view, colIndex, sparkline }, ...rest }) => {
    if (isStat) {
      if (sparkline) sparkline.timeRange = timeRange;
      const textMode = options.textMode === 'auto' && !data.length ? 'value_and_name' : options.textMode;
      return <BigValue {...{ ...options, ...rest, textMode, value: display, sparkline, theme }} />;
    }
    const value = rest.count === 1 ? { ...display, title: undefined } : display;
    return <BarGauge {...{ ...options, ...rest, value, field, theme, itemSpacing: 10,
      valueDisplayMode: options.valueMode,
      display: view?.getFieldDisplayProcessor(colIndex) ?? getDisplayProcessor({ field, theme }) }} />;
  };
  return <VizRepeater {...{ getValues, renderValue, width, height, source: data, renderCounter: 0, autoGrid: true,
    getAlignmentFactors: getDisplayValueAlignmentFactors, orientation: options.orientation,
    itemSpacing: isStat ? 3 : 10, minVizWidth: 8, minVizHeight: 16, maxVizHeight: 300 }} />;
}

// Lines end where a value is missing, or is not a number.
function drawable(frame) {
  const [time, value] = frame.fields, interval = time.config.interval, times = [], values = [];
  time.values.forEach((at, index) => {
    if (at - times.at(-1) > interval) {
      times.push(times.at(-1) + interval);
      values.push(null);
    }
    times.push(at);
    values.push(Number.isFinite(value.values[index]) ? value.values[index] : null);
  });
  return { ...frame, length: times.length, fields: [{ ...time, values: times }, { ...value, values }] };
}

function Content({ loaded, width, height }) {
  const { panel, fieldConfig, data } = loaded;
  const style = { width, height, display: 'grid', placeItems: 'center', color: theme.colors.text.secondary };
  const note = (text) => <div style={style}>{text}</div>;
  switch (panel.type) {
    case 'stat':
    case 'bargauge':
      return <Values {...{ loaded, width, height }} />;
    case 'timeseries':
      if (!data.some((each) => each.length)) return note(fieldConfig.defaults.noValue);
      return <TimeSeries {...{ frames: data.map(drawable), width, height, timeRange, timeZone: 'utc',
        legend: panel.options.legend, options: panel.options }} />;
    case 'table':
      return data[0]?.length ? <Table {...{ data: data[0], width, height }} /> : note(fieldConfig.defaults.noValue);
    default:
      return note(`not drawn here: ${panel.type}`); // a panel of Grafana's that is not among its packages
  }
}

function Dashboard({ all }) {
  return all.map((loaded) => {
    const { panel: { gridPos: at, id, title, type, description, collapsed } } = loaded;
    const place = { position: 'absolute', left: GAP + at.x * COLUMN, top: GAP + at.y * (ROW + GAP) };
    const width = at.w * COLUMN - GAP, height = at.h * (ROW + GAP) - GAP;
    if (type === 'row') {
      const line = { display: 'flex', alignItems: 'center', gap: GAP };
      return <div key={id} style={{ ...place, ...line, ...theme.typography.h5, width, height }}>
        <Icon name={collapsed ? 'angle-right' : 'angle-down'} />{title}
      </div>;
    }
    return <div key={id} style={{ ...place, width, height }}>
      <PanelChrome {...{ width, height, title, description }}>
        {(width, height) => <Content {...{ loaded, width, height }} />}
      </PanelChrome>
    </div>;
  });
}

const root = createRoot(document.getElementById('root'));
const show = (all) => root.render(
  <ThemeContext.Provider value={theme}><GlobalStyles /><Dashboard all={all} /></ThemeContext.Provider>);
show([]); // its fonts, by which texts are measured
const all = await Promise.all(dashboard.panels.map((panel) => (panel.type === 'row' ? { panel } : load(panel))));
await Promise.all([400, 500].map((weight) => document.fonts.load(`${weight} 14px Inter`)));
show(all);
document.body.dataset.loaded = 'true';
