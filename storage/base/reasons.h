// The reasons of errors, as ErrorInfo.reason carries them to programs, each once. They are a part of the API: a reason
// keeps its name and its meaning.
//
// What an error means to people is in its message; docs/troubleshooting.md says what to do.
#ifndef MUSTER_STORAGE_BASE_REASONS_H_
#define MUSTER_STORAGE_BASE_REASONS_H_

namespace muster::reasons {

// Requests that can't be served as they are.
inline constexpr char kHistoryChanged[] = "HISTORY_CHANGED";
inline constexpr char kInvalidField[] = "INVALID_FIELD";
inline constexpr char kInvalidName[] = "INVALID_NAME";
inline constexpr char kInvalidPageToken[] = "INVALID_PAGE_TOKEN";
inline constexpr char kPageTokenExpired[] = "PAGE_TOKEN_EXPIRED";
inline constexpr char kRequestIdReused[] = "REQUEST_ID_REUSED";
inline constexpr char kRevisionCompacted[] = "REVISION_COMPACTED";
inline constexpr char kTooManyItems[] = "TOO_MANY_ITEMS";
inline constexpr char kTooManyRequestIds[] = "TOO_MANY_REQUEST_IDS";
inline constexpr char kTooManyWatches[] = "TOO_MANY_WATCHES";
inline constexpr char kUidDiffers[] = "UID_DIFFERS";
inline constexpr char kUsage[] = "USAGE";

// Who may do what.
inline constexpr char kAccessDenied[] = "ACCESS_DENIED";
inline constexpr char kAuditFailed[] = "AUDIT_FAILED";
inline constexpr char kCredentialExpired[] = "CREDENTIAL_EXPIRED";
inline constexpr char kCredentialRefused[] = "CREDENTIAL_REFUSED";
inline constexpr char kPolicyInvalid[] = "POLICY_INVALID";

// Certificates for nodes.
inline constexpr char kAuthorityDiffers[] = "AUTHORITY_DIFFERS";
inline constexpr char kEnrolmentOff[] = "ENROLMENT_OFF";
inline constexpr char kJoinTokenNotForNode[] = "JOIN_TOKEN_NOT_FOR_NODE";
inline constexpr char kJoinTokenRefused[] = "JOIN_TOKEN_REFUSED";
inline constexpr char kJoinTokenUnknown[] = "JOIN_TOKEN_UNKNOWN";
inline constexpr char kJoinTokenUsedUp[] = "JOIN_TOKEN_USED_UP";
inline constexpr char kNodeNameEnrolled[] = "NODE_NAME_ENROLLED";
inline constexpr char kNodeNotEnrolled[] = "NODE_NOT_ENROLLED";

// The server, and the way to it.
inline constexpr char kInvalidServer[] = "INVALID_SERVER";
inline constexpr char kListenFailed[] = "LISTEN_FAILED";
inline constexpr char kListenInsecure[] = "LISTEN_INSECURE";
inline constexpr char kPagingStuck[] = "PAGING_STUCK";
inline constexpr char kQueueFull[] = "QUEUE_FULL";
inline constexpr char kReadersBusy[] = "READERS_BUSY";
inline constexpr char kRowDamaged[] = "ROW_DAMAGED";
inline constexpr char kServerTimedOut[] = "SERVER_TIMED_OUT";
inline constexpr char kServerUnreachable[] = "SERVER_UNREACHABLE";
inline constexpr char kShuttingDown[] = "SHUTTING_DOWN";
inline constexpr char kStoreFull[] = "STORE_FULL";
inline constexpr char kTlsFailed[] = "TLS_FAILED";
inline constexpr char kTlsFilesUnusable[] = "TLS_FILES_UNUSABLE";

// Waiting on the command line.
inline constexpr char kDrainOverdue[] = "DRAIN_OVERDUE";
inline constexpr char kNotDraining[] = "NOT_DRAINING";
inline constexpr char kWaitTimedOut[] = "WAIT_TIMED_OUT";

// The catalogue.
inline constexpr char kCompanionExists[] = "COMPANION_EXISTS";
inline constexpr char kLastLocation[] = "LAST_LOCATION";
inline constexpr char kLocationUnknown[] = "LOCATION_UNKNOWN";
inline constexpr char kShardsWithoutRank[] = "SHARDS_WITHOUT_RANK";
inline constexpr char kShardExists[] = "SHARD_EXISTS";
inline constexpr char kShardOutOfRange[] = "SHARD_OUT_OF_RANGE";
inline constexpr char kShardUnknown[] = "SHARD_UNKNOWN";
inline constexpr char kTensorsExist[] = "TENSORS_EXIST";
inline constexpr char kTensorsOutOfOrder[] = "TENSORS_OUT_OF_ORDER";
inline constexpr char kTensorNameTaken[] = "TENSOR_NAME_TAKEN";
inline constexpr char kVersionExists[] = "VERSION_EXISTS";
inline constexpr char kVersionIncomplete[] = "VERSION_INCOMPLETE";
inline constexpr char kVersionInUse[] = "VERSION_IN_USE";
inline constexpr char kVersionNotCommitted[] = "VERSION_NOT_COMMITTED";
inline constexpr char kVersionNotDraft[] = "VERSION_NOT_DRAFT";
inline constexpr char kVersionUnknown[] = "VERSION_UNKNOWN";

// Nodes and assemblies.
inline constexpr char kAssemblyDiffers[] = "ASSEMBLY_DIFFERS";
inline constexpr char kAssemblyExists[] = "ASSEMBLY_EXISTS";
inline constexpr char kAssemblyInUse[] = "ASSEMBLY_IN_USE";
inline constexpr char kAssemblyUnknown[] = "ASSEMBLY_UNKNOWN";
inline constexpr char kAssignmentGone[] = "ASSIGNMENT_GONE";
inline constexpr char kClaimDiffers[] = "CLAIM_DIFFERS";
inline constexpr char kMemberUnknown[] = "MEMBER_UNKNOWN";
inline constexpr char kNodeError[] = "NODE_ERROR";
inline constexpr char kNodeFenced[] = "NODE_FENCED";
inline constexpr char kNodeInUse[] = "NODE_IN_USE";
inline constexpr char kNodeLost[] = "NODE_LOST";
inline constexpr char kNodeNameTaken[] = "NODE_NAME_TAKEN";
inline constexpr char kNodeNoSpace[] = "NODE_NO_SPACE";
inline constexpr char kNodeTooSmall[] = "NODE_TOO_SMALL";
inline constexpr char kNodeUnknown[] = "NODE_UNKNOWN";
inline constexpr char kPlanOutdated[] = "PLAN_OUTDATED";
inline constexpr char kReportSuperseded[] = "REPORT_SUPERSEDED";

// Descriptions that a client refuses to believe.
inline constexpr char kDescriptionBroken[] = "DESCRIPTION_BROKEN";
inline constexpr char kInvalidShard[] = "INVALID_SHARD";
inline constexpr char kPiecesDiffer[] = "PIECES_DIFFER";
inline constexpr char kUnsafePath[] = "UNSAFE_PATH";

// Shards and companions on their way.
inline constexpr char kCompanionCorrupt[] = "COMPANION_CORRUPT";
inline constexpr char kCodeNotAllowed[] = "CODE_NOT_ALLOWED";
inline constexpr char kHdfsError[] = "HDFS_ERROR";
inline constexpr char kLocationNotAllowed[] = "LOCATION_NOT_ALLOWED";
inline constexpr char kNoSpace[] = "NO_SPACE";
inline constexpr char kS3Error[] = "S3_ERROR";
inline constexpr char kShardCorrupt[] = "SHARD_CORRUPT";
inline constexpr char kShardMissing[] = "SHARD_MISSING";
inline constexpr char kShardSlow[] = "SHARD_SLOW";
inline constexpr char kShardUnreadable[] = "SHARD_UNREADABLE";
inline constexpr char kStorageStalled[] = "STORAGE_STALLED";
inline constexpr char kStorageSlow[] = "STORAGE_SLOW";
inline constexpr char kTooManyOpenFiles[] = "TOO_MANY_OPEN_FILES";

// The cache.
inline constexpr char kCacheEntryCorrupt[] = "CACHE_ENTRY_CORRUPT";
inline constexpr char kCacheEntryPinned[] = "CACHE_ENTRY_PINNED";
inline constexpr char kCacheEntryUnknown[] = "CACHE_ENTRY_UNKNOWN";
inline constexpr char kCacheEntryWritable[] = "CACHE_ENTRY_WRITABLE";
inline constexpr char kCacheFull[] = "CACHE_FULL";
inline constexpr char kCacheKeepsStored[] = "CACHE_KEEPS_STORED";
inline constexpr char kCacheOnNetwork[] = "CACHE_ON_NETWORK";
inline constexpr char kPinUnknown[] = "PIN_UNKNOWN";

// Views.
inline constexpr char kViewAtMountPoint[] = "VIEW_AT_MOUNT_POINT";
inline constexpr char kViewBroken[] = "VIEW_BROKEN";
inline constexpr char kViewIncomplete[] = "VIEW_INCOMPLETE";
inline constexpr char kViewLinksImpossible[] = "VIEW_LINKS_IMPOSSIBLE";
inline constexpr char kViewNotOurs[] = "VIEW_NOT_OURS";
inline constexpr char kViewPath[] = "VIEW_PATH";
inline constexpr char kViewRecordBroken[] = "VIEW_RECORD_BROKEN";
inline constexpr char kViewUnknown[] = "VIEW_UNKNOWN";
inline constexpr char kViewVersionCurrent[] = "VIEW_VERSION_CURRENT";
inline constexpr char kViewVersionDiffers[] = "VIEW_VERSION_DIFFERS";
inline constexpr char kViewVersionUnknown[] = "VIEW_VERSION_UNKNOWN";

// Models in memory.
inline constexpr char kNotSealed[] = "NOT_SEALED";
inline constexpr char kNoLayers[] = "NO_LAYERS";
inline constexpr char kShardHeaderBroken[] = "SHARD_HEADER_BROKEN";
inline constexpr char kShardNotLoaded[] = "SHARD_NOT_LOADED";
inline constexpr char kTensorUnknown[] = "TENSOR_UNKNOWN";

// Encoded shards and their keys.
inline constexpr char kContentKeyDamaged[] = "CONTENT_KEY_DAMAGED";
inline constexpr char kEncodingDiffers[] = "ENCODING_DIFFERS";
inline constexpr char kFrameCorrupt[] = "FRAME_CORRUPT";
inline constexpr char kFrameTableBroken[] = "FRAME_TABLE_BROKEN";
inline constexpr char kKeyCommandFailed[] = "KEY_COMMAND_FAILED";
inline constexpr char kKeyDenied[] = "KEY_DENIED";
inline constexpr char kKeyFileExposed[] = "KEY_FILE_EXPOSED";
inline constexpr char kKeyMissing[] = "KEY_MISSING";
inline constexpr char kKeysNeedTls[] = "KEYS_NEED_TLS";
inline constexpr char kMasterKeyFile[] = "MASTER_KEY_FILE";
inline constexpr char kMasterKeyInUse[] = "MASTER_KEY_IN_USE";
inline constexpr char kMasterKeyMissing[] = "MASTER_KEY_MISSING";
inline constexpr char kNoContentKey[] = "NO_CONTENT_KEY";
inline constexpr char kNoMasterKey[] = "NO_MASTER_KEY";
inline constexpr char kUnknownEncoding[] = "UNKNOWN_ENCODING";
inline constexpr char kWrongKey[] = "WRONG_KEY";

// What is published, verified and measured.
inline constexpr char kBlobCorrupt[] = "BLOB_CORRUPT";
inline constexpr char kDraftDiffers[] = "DRAFT_DIFFERS";
inline constexpr char kIncludeMatchesNothing[] = "INCLUDE_MATCHES_NOTHING";
inline constexpr char kNotMeasured[] = "NOT_MEASURED";
inline constexpr char kOtherFormat[] = "OTHER_FORMAT";
inline constexpr char kPathsDifferInCase[] = "PATHS_DIFFER_IN_CASE";
inline constexpr char kShardDiffers[] = "SHARD_DIFFERS";
inline constexpr char kTensorsDiffer[] = "TENSORS_DIFFER";
inline constexpr char kVerifyFailed[] = "VERIFY_FAILED";

// PyTorch files.
inline constexpr char kPickleBroken[] = "PICKLE_BROKEN";
inline constexpr char kPickleRefused[] = "PICKLE_REFUSED";
inline constexpr char kTorchNoStateDict[] = "TORCH_NO_STATE_DICT";
inline constexpr char kTorchUnsupported[] = "TORCH_UNSUPPORTED";
inline constexpr char kZipBroken[] = "ZIP_BROKEN";
inline constexpr char kZipCompressed[] = "ZIP_COMPRESSED";
inline constexpr char kZipCrcDiffers[] = "ZIP_CRC_DIFFERS";

}  // namespace muster::reasons

#endif  // MUSTER_STORAGE_BASE_REASONS_H_
