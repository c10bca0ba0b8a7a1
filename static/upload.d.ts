/**
 * The types of `upload.js`, which uploads files from the browser to OSS with forms that your server signs.
 *
 * TypeScript does not read types from a URL: copy this file into your project, and name the module by its address, as
 * `declare module "/oss/upload.js" { export * from "./upload" }` in a file of your own does.
 */

/** What a page may say about its uploads. Everything has a default. */
export interface UploaderOptions {
  /** The signature endpoint, relative to the page or absolute. Default: the one beside the module. */
  serverUrl?: string;
  /**
   * Where a file without an answer is asked for, or where each file is reported (OSS_REPORT_BY=page). Default: `recover`
   * beside the signature; null: nowhere.
   */
  recoverUrl?: string | null;
  /** What tells what may be uploaded. Default: `limits` beside the signature; null: nothing. */
  limitsUrl?: string | null;
  /** How many files are sent at a time. Default: 3. */
  concurrency?: number;
  /** Called once for each file, when its turn comes: returns what is sent in its place, such as a smaller picture. */
  prepare?: ((file: File) => File | Blob | null | undefined | Promise<File | Blob | null | undefined>) | null;
  /** Headers of the requests to your own server, such as a CSRF token; a function is called for each. */
  headers?: Record<string, string> | (() => Record<string, string>);
  /** Notes files without an answer for the time after a reload. Default: sessionStorage; null: until the page is left. */
  storage?: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null;
  /** In place of the browser's `fetch`, for the requests to your own server. */
  fetch?: typeof fetch;
  /** In place of the browser's `XMLHttpRequest`, for the requests to OSS. */
  XMLHttpRequest?: typeof XMLHttpRequest;
}

export type UploadState =
  | "queued"
  | "waiting"
  | "preparing"
  | "signing"
  | "sending"
  | "answering"
  | "asking"
  | "retrying"
  | "paused"
  | "stored"
  | "untold"
  | "unsure"
  | "failed"
  | "cancelled";

/** What `GET {prefix}/limits` tells. Sizes are bytes. */
export interface UploadLimits {
  max_size: number;
  min_size: number;
  /** Empty for any type. */
  content_types: string[];
  /** Seconds for which a signature is valid. */
  expires: number;
  methods: string[];
  multipart_from: number | null;
  part_size: number | null;
  recover: boolean;
  /** Whether a form may bring signed IDs in the place of its files. */
  forms: boolean;
}

/** A file with its path below a folder, such as `holidays/2026/sea.jpg`. */
export interface FileWithPath {
  file: File;
  path?: string;
}

export interface UploadTotals {
  /** Files that are neither queued nor cancelled, and their bytes. */
  files: number;
  bytes: number;
  sent: number;
  /** Bytes per second. */
  rate: number;
  queued: number;
  queuedBytes: number;
  running: number;
  stored: number;
  untold: number;
  unsure: number;
  failed: number;
  paused: number;
  cancelled: number;
}

/** The reason why a file was not uploaded. */
export class UploadError extends Error {
  constructor(kind: UploadErrorKind, stage: UploadStage, facts?: Partial<Omit<UploadError, keyof Error>> & { message?: string });
  kind: UploadErrorKind;
  /** Where it happened: your server, OSS, or this page. */
  stage: UploadStage;
  status: number;
  code: string;
  /** The text of the server or of OSS. */
  reason: string;
  /** OSS's finer code. */
  ec: string;
  requestId: string;
  /** Every byte was sent, so that the object may be stored in spite of the error. */
  complete: boolean;
  /** Seconds that the server asked to wait. */
  retryAfter: number | null;
  /** What the server allows, where the page refuses a file that it excludes: bytes, or a list of types. */
  limit: number | string[] | null;
  /** Whether the same file may succeed a little later, without anybody's doing. */
  readonly passing: boolean;
}

export type UploadErrorKind = "unreachable" | "blocked" | "refused" | "unexpected" | "unreadable" | "unprepared" | "exposed";
export type UploadStage = "server" | "storage" | "page";

/** One file of an Uploader. Read its properties; do not write them. */
export class UploadItem {
  readonly id: number;
  /** What is sent: what `prepare` returned, once its turn has come. */
  readonly file: File;
  /** The path below the chosen or dropped folder, with the file's name; "" without one. */
  readonly path: string;
  readonly state: UploadState;
  /** Bytes. */
  readonly sent: number;
  /** 0 to 1. */
  readonly progress: number;
  /** The object's name and address. */
  readonly key: string;
  readonly url: string;
  /** The text that the application returned; "" if nobody reports the file. */
  readonly answer: string;
  /**
   * The proof of the stored file, for a form: `find_upload` of your application returns its upload. It is the member
   * `signed_id` of the answer; "" until the file is stored, or where the server gives none.
   */
  readonly signedId: string;
  /** OSS's status. */
  readonly status: number;
  readonly error: UploadError | null;
  /** Every byte was sent before the file was cancelled. */
  readonly complete: boolean;
  /** The server has looked, and the file is not stored. */
  readonly notStored: boolean;
  /** The file is sent in parts, so that `pause()` does something. */
  readonly canPause: boolean;
  /** What an earlier page has begun with a file of this name; `resume()` goes on with it, unless the file has changed. */
  readonly resumable: { sent: number; size: number; isChanged: boolean } | null;
  /** `retry()` does something. */
  readonly canRetry: boolean;
  /** `retry()` asks the server for the file, and does not send it. */
  readonly canAsk: boolean;
  readonly running: boolean;
  readonly ended: boolean;
  /** Seconds until the next attempt: Infinity while the device is offline, 0 if none is planned. */
  readonly retryIn: number;
  /** Recent bytes per second; 0 while nobody can say. */
  rate(): number;
  /**
   * What happened to a file that did not simply succeed, and what to do, in the first of these languages that the module
   * has; "" where there is nothing to say. The texts are loaded when they are first asked for.
   */
  explain(languages?: string | readonly string[]): Promise<string>;
}

export interface UploaderEvents {
  add: CustomEvent<{ item: UploadItem }>;
  remove: CustomEvent<{ item: UploadItem }>;
  state: CustomEvent<{ item: UploadItem; previous: UploadState }>;
  progress: CustomEvent<{ item: UploadItem }>;
  done: CustomEvent<{ item: UploadItem }>;
  fail: CustomEvent<{ item: UploadItem }>;
  cancel: CustomEvent<{ item: UploadItem }>;
  resumable: CustomEvent<{ item: UploadItem }>;
  idle: CustomEvent<Record<string, never>>;
}

/** A queue of files that uploads a few of them at a time, and tries again by itself what may pass. */
export class Uploader extends EventTarget {
  constructor(options?: UploaderOptions);
  readonly items: UploadItem[];
  readonly running: boolean;
  readonly totals: UploadTotals;
  readonly concurrency: number;
  /** Returns what the server lets this page upload, or null where it does not say. It is asked once. */
  limits(): Promise<UploadLimits | null>;
  /** Why the server did not say what it lets this page upload, when it was asked last. */
  readonly limitsError?: UploadError;
  /** Adds files to the queue. They wait for `start()`; what the limits exclude fails at once. */
  add(files: Iterable<File | FileWithPath> | ArrayLike<File | FileWithPath>): UploadItem[];
  /** Starts all queued files, or those of a list. */
  start(items?: UploadItem[]): UploadItem[];
  /** Stops a waiting or running file. If every byte was sent (`item.complete`), it may be stored all the same. */
  cancel(item: UploadItem): boolean;
  /** Stops a file that is sent in parts; OSS keeps the parts that it has. Returns whether it is paused. */
  pause(item: UploadItem): boolean;
  /** Goes on with a paused file, or with what an earlier page has sent of a queued one (`item.resumable`). */
  resume(item: UploadItem): boolean;
  /** Sends a failed or cancelled file again, or at once one that waits. An `untold` or `unsure` one is asked for. */
  retry(item: UploadItem): boolean;
  /** Removes a file from the list. A running file is cancelled first. */
  remove(item: UploadItem): boolean;
  addEventListener<Type extends keyof UploaderEvents>(
    type: Type,
    listener: (event: UploaderEvents[Type]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/** Returns the address of an object, or "" if `host` is no web address. */
export function objectUrl(host: string, key: string): string;

declare global {
  interface GlobalEventHandlersEventMap {
    "oss:progress": CustomEvent<{ item: UploadItem }>;
    "oss:done": CustomEvent<{ item: UploadItem }>;
    "oss:fail": CustomEvent<{ item: UploadItem }>;
  }
}
