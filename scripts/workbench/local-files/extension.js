const vscode = require('vscode');

/** A file-system provider over the server's /workspace/: every operation is one request. */
class LocalFiles {
  constructor(base) {
    this.base = base;
    this.changed = new vscode.EventEmitter();
    this.onDidChangeFile = this.changed.event;
  }

  async request(uri, operation, body) {
    const path = uri.path.split('/').map(encodeURIComponent).join('/');
    const init = body === undefined ? { method: 'GET' } : { method: 'POST', body };
    const response = await fetch(`${this.base}workspace${path}?do=${operation}`, init);
    if (!response.ok) throw vscode.FileSystemError.FileNotFound(uri);
    return response;
  }

  watch() {
    return new vscode.Disposable(() => {});
  }

  async stat(uri) {
    return (await this.request(uri, 'stat')).json();
  }

  async readDirectory(uri) {
    return (await this.request(uri, 'readdir')).json();
  }

  async readFile(uri) {
    return new Uint8Array(await (await this.request(uri, 'read')).arrayBuffer());
  }

  async writeFile(uri, content, { create }) {
    const existed = await this.stat(uri).then(
      () => true,
      () => false,
    );
    if (!existed && !create) throw vscode.FileSystemError.FileNotFound(uri);
    await this.request(uri, 'write', content);
    this.changed.fire([{ type: existed ? vscode.FileChangeType.Changed : vscode.FileChangeType.Created, uri }]);
  }

  async createDirectory(uri) {
    await this.request(uri, 'mkdir', '');
    this.changed.fire([{ type: vscode.FileChangeType.Created, uri }]);
  }

  async delete(uri) {
    await this.request(uri, 'delete', '');
    this.changed.fire([{ type: vscode.FileChangeType.Deleted, uri }]);
  }

  async rename(from, to) {
    await this.request(from, 'rename', to.path);
    this.changed.fire([
      { type: vscode.FileChangeType.Deleted, uri: from },
      { type: vscode.FileChangeType.Created, uri: to },
    ]);
  }
}

exports.activate = (context) => {
  const { scheme, authority } = context.extensionUri;
  const files = new LocalFiles(`${scheme}://${authority}/`);
  context.subscriptions.push(vscode.workspace.registerFileSystemProvider('ringside-workspace', files));
};
