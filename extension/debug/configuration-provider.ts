/** Completes launch configurations: F5 without a launch.json, the user's defaults, URIs where there are no paths. */
import * as vscode from 'vscode';
import { debugType } from '../session/debug-model.ts';
import {
  type Configuration,
  completeFrom,
  configurationBeside,
  configurationFor,
  type Folder,
  isProgram,
  type LaunchDefaults,
  openFile,
  resolveFiles,
} from './launch-configuration.ts';

const programLanguages = new Set(['nasm', 'asm', 'gas']);

/** Programs offered under "Run and Debug: Ringside…". */
const offeredPrograms = 20;

export class ConfigurationProvider implements vscode.DebugConfigurationProvider {
  async resolveDebugConfiguration(
    _folder: vscode.WorkspaceFolder | undefined,
    configuration: vscode.DebugConfiguration,
  ): Promise<vscode.DebugConfiguration | undefined> {
    const isEmpty = !configuration.type && !configuration.request && !configuration.name;
    const isOpenFile = configuration.program === openFile;
    if (!isEmpty && !isOpenFile) return { ...launchDefaults(), ...configuration };
    const file = activeFile();
    const beside = isOpenFile && file ? await configurationIn(file) : undefined;
    if (beside) return { ...launchDefaults(), ...completeFrom(configuration, beside) };
    const program = activeProgram();
    if (program && isOpenFile) return { ...launchDefaults(), ...configuration };
    if (program) return debugConfigurationFor(program);
    // Not waited for: VS Code starts nothing else before this launch has ended.
    void offerSample();
    return undefined;
  }

  resolveDebugConfigurationWithSubstitutedVariables(
    folder: vscode.WorkspaceFolder | undefined,
    configuration: vscode.DebugConfiguration,
  ): vscode.DebugConfiguration {
    const base = folder ?? vscode.workspace.workspaceFolders?.[0];
    return resolveFiles(configuration, base && folderOf(base.uri));
  }
}

async function offerSample(): Promise<void> {
  const openSample = 'Open a Sample';
  const answer = await vscode.window.showInformationMessage(
    'Ringside: expected an open guest program (.asm, .elf or .bin), or a launch.json that names one.',
    openSample,
  );
  if (answer === openSample) await vscode.commands.executeCommand('ringside.openSample');
}

/** Offers the programs of the workspace in the list of debug configurations. */
export class DynamicConfigurationProvider implements vscode.DebugConfigurationProvider {
  async provideDebugConfigurations(): Promise<vscode.DebugConfiguration[]> {
    const programs = await vscode.workspace.findFiles('**/*.{asm,nasm,elf}', '**/node_modules/**', offeredPrograms);
    return Promise.all(programs.map(debugConfigurationFor));
  }
}

export function registerConfigurationProviders(): vscode.Disposable[] {
  const { Dynamic } = vscode.DebugConfigurationProviderTriggerKind;
  return [
    vscode.debug.registerDebugConfigurationProvider(debugType, new ConfigurationProvider()),
    vscode.debug.registerDebugConfigurationProvider(debugType, new DynamicConfigurationProvider(), Dynamic),
  ];
}

/** The configuration for a program: that of a launch.json beside it, else the defaults. */
export async function debugConfigurationFor(program: vscode.Uri): Promise<vscode.DebugConfiguration> {
  const configuration = (await configurationIn(program)) ?? configurationFor(nameOf(program), launchDefaults());
  return { ...configuration };
}

/** The configuration for a file in a launch.json beside it. */
async function configurationIn(file: vscode.Uri): Promise<Configuration | undefined> {
  return configurationBeside(await textOf(vscode.Uri.joinPath(file, '../launch.json')), nameOf(file));
}

const nameOf = (file: vscode.Uri): string => (file.scheme === 'file' ? file.fsPath : file.toString());

/** The text of a file, empty if there is none. */
async function textOf(file: vscode.Uri): Promise<string> {
  try {
    return new TextDecoder().decode(await vscode.workspace.fs.readFile(file));
  } catch {
    return '';
  }
}

/** The file that the active editor shows. */
function activeFile(): vscode.Uri | undefined {
  const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input;
  const hasUri = input instanceof vscode.TabInputText || input instanceof vscode.TabInputCustom;
  return hasUri ? input.uri : vscode.window.activeTextEditor?.document.uri;
}

/** The same, if it is a program. */
function activeProgram(): vscode.Uri | undefined {
  const document = vscode.window.activeTextEditor?.document;
  if (document && programLanguages.has(document.languageId)) return document.uri;
  const uri = activeFile();
  return uri && isProgram(uri.path) ? uri : undefined;
}

/** What the user set under `ringside.launch`; a default of the settings themselves is left to the adapter. */
function launchDefaults(): LaunchDefaults {
  const settings = vscode.workspace.getConfiguration('ringside.launch');
  const get = <T>(name: string) => {
    const value = settings.get<T | null>(name);
    return value === undefined || value === null ? {} : { [name]: value };
  };
  return { ...get('virtualization'), ...get('memory'), ...get('stopOnEntry') };
}

function folderOf(uri: vscode.Uri): Folder {
  if (uri.scheme === 'file') return { path: uri.fsPath, uriOf: undefined };
  return { path: uri.path.replace(/\/$/, ''), uriOf: (path) => uri.with({ path }).toString() };
}
