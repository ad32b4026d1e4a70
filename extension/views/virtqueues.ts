/** The virtqueues view: each virtio device with its status, features and queues. */
import type { WireVirtioDevice } from '../../debug-adapter/protocol/requests.ts';
import { colors, type Row, type View } from './row.ts';
import { counted, hex } from './text.ts';
import { chainRow, descriptorRow, ringRows } from './virtqueue-parts.ts';

type Queue = WireVirtioDevice['queues'][number];

export const virtqueuesView: View = async (ask) => {
  const { devices } = await ask('ringside/virtqueues', {});
  if (devices.length === 0) {
    return { rows: [], message: 'This machine has no virtio device. "devices" of the launch configuration adds some.' };
  }
  return { rows: devices.map(deviceRow) };
};

function deviceRow(device: WireVirtioDevice): Row {
  const id = device.device;
  const needsReset = device.needsResetReason !== '';
  return {
    id,
    label: device.device,
    description: `${device.type} · ${device.status === '' ? 'not initialized' : device.status}`,
    ...(needsReset ? { icon: 'warning', color: colors.warning } : { icon: 'server' }),
    expanded: true,
    children: () => [
      ...(needsReset ? [needsResetRow(id, device.needsResetReason)] : []),
      { id: `${id}/status`, label: 'Status', description: device.status || '0', value: device.status, icon: 'pulse' },
      featuresRow(`${id}/driver-features`, 'Features the driver took', device.driverFeatures),
      featuresRow(`${id}/device-features`, 'Features offered', device.deviceFeatures),
      ...(device.properties.length === 0 ? [] : [propertiesRow(id, device.properties)]),
      registersRow(id, device.registers),
      ...device.queues.map((queue) => queueRow(id, queue)),
    ],
  };
}

function needsResetRow(id: string, reason: string): Row {
  return { id: `${id}/reset`, label: 'Needs reset', description: reason, icon: 'error', color: colors.error };
}

function featuresRow(id: string, label: string, { value, names }: WireVirtioDevice['driverFeatures']): Row {
  return {
    id,
    label,
    description: value,
    value,
    icon: 'checklist',
    children: () => names.map((name) => ({ id: `${id}/${name}`, label: name, value: name, icon: 'check' })),
  };
}

function propertiesRow(id: string, properties: WireVirtioDevice['properties']): Row {
  const children = () =>
    properties.map(({ name, value }) => ({ id: `${id}/properties/${name}`, label: name, description: value, value }));
  return { id: `${id}/properties`, label: 'Device', icon: 'settings', children };
}

function registersRow(id: string, registers: WireVirtioDevice['registers']): Row {
  const row = ({ name, value, widthBits, meaning }: WireVirtioDevice['registers'][number]): Row => {
    const text = hex(value, widthBits / 4);
    const description = meaning ? `${text} · ${meaning}` : text;
    return { id: `${id}/registers/${name}`, label: name, description, value: text };
  };
  return { id: `${id}/registers`, label: 'Registers', icon: 'symbol-field', children: () => registers.map(row) };
}

function queueRow(parent: string, queue: Queue): Row {
  const id = `${parent}/queue${queue.index}`;
  const inFlight = queue.chainsInFlight.length;
  const state = queue.ready ? `size ${queue.size}, ${counted(inFlight, 'chain')} in flight` : 'not ready';
  const isBroken = queue.error !== undefined || queue.chainsInFlight.some(({ error }) => error !== undefined);
  return {
    id,
    label: `Queue ${queue.index}: ${queue.name}`,
    description: queue.error === undefined ? state : `${state} · ${queue.error}`,
    ...(isBroken ? { icon: 'warning', color: colors.warning } : { icon: 'arrow-swap' }),
    expanded: queue.ready,
    ...(queue.ready ? { children: () => queueParts(id, queue) } : {}),
  };
}

function queueParts(id: string, queue: Queue): Row[] {
  return [
    {
      id: `${id}/chains`,
      label: 'Chains in flight',
      description: String(queue.chainsInFlight.length),
      icon: 'link',
      expanded: true,
      children: () => queue.chainsInFlight.map((chain, at) => chainRow(`${id}/chains`, chain, at)),
    },
    descriptorTableRow(id, queue),
    ...ringRows(id, queue),
  ];
}

function descriptorTableRow(id: string, { descriptorTable, descriptorTableAddress }: Queue): Row {
  const place = { description: hex(descriptorTableAddress), value: hex(descriptorTableAddress) };
  const common = { id: `${id}/descriptors`, label: 'Descriptor table', icon: 'table', ...place };
  if (!descriptorTable) return common;
  return {
    ...common,
    memory: `gpa:${hex(descriptorTableAddress)}`,
    children: () => descriptorTable.map((one) => descriptorRow(`${id}/descriptors/${one.index}`, `${one.index}`, one)),
  };
}
