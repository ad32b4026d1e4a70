/** The page of the Translation panel: what a screen shows before the script runs, and what it may load. */
import * as vscode from 'vscode';
import styles from '../webview/translation.css';

export function panelHtml(webview: vscode.Webview, extension: vscode.Uri): string {
  const script = webview.asWebviewUri(vscode.Uri.joinPath(extension, 'dist/webview/translation.js'));
  const nonce = makeNonce();
  const policy = `default-src 'none'; style-src 'nonce-${nonce}'; script-src 'nonce-${nonce}'`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta http-equiv="Content-Security-Policy" content="${policy}">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Translation</title>
  <style nonce="${nonce}">${styles}</style>
</head>
<body>
  <form id="question">
    <label class="wide">Linear address or expression
      <input id="expression" type="text" spellcheck="false" autocomplete="off" placeholder="0x7c00, rsp + 8, message">
    </label>
    <label>Access
      <select id="access">
        <option value="read">read</option>
        <option value="write">write</option>
        <option value="execute">fetch</option>
      </select>
    </label>
    <button type="submit">Translate</button>
  </form>
  <main id="answer" aria-live="polite"></main>
  <script nonce="${nonce}" src="${script}"></script>
</body>
</html>`;
}

function makeNonce(): string {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
