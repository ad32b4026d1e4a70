/** Settings of a quiet window: nothing but the workspace and Ringside, and nothing sent anywhere. */
export const quietSettings = {
  'telemetry.telemetryLevel': 'off',
  'workbench.startupEditor': 'none',
  'security.workspace.trust.enabled': false,
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'chat.disableAIFeatures': true,
  'extensions.autoUpdate': false,
  'extensions.autoCheckUpdates': false,
  'extensions.ignoreRecommendations': true,
  'update.showReleaseNotes': false,
  'git.enabled': false,
  'workbench.reduceMotion': 'on',
  'workbench.tips.enabled': false,
  'explorer.compactFolders': false,
  // Else VS Code offers every port that any program of the machine opens.
  'remote.autoForwardPorts': false,
};
