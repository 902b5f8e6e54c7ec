"""The C functions of llama.cpp that we call, and nothing of what we do with them.

The xllamacpp wheel carries one shared object whose dynamic symbols are llama.cpp's whole C API;
we open it with cffi in ABI mode and declare only what is used.  ABI mode trusts our declarations,
so `open_library` first compares what the library's own `*_default_params()` answer with what the
pinned release is known to answer: a drifted layout is refused in words instead of crashing.

Source of every declaration: `include/llama.h` and `tools/mtmd/mtmd.h` in the sdist of the pinned release.
"""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cffi

PINNED = "2026.10.11549"

_CDEF = """
typedef int32_t llama_pos;
typedef int32_t llama_token;
typedef int32_t llama_seq_id;
struct llama_model;
struct llama_context;
struct llama_vocab;
struct llama_memory_i;

typedef void (*log_callback)(int level, const char * text, void * user_data);
typedef bool (*progress_callback)(float progress, void * user_data);

struct llama_batch {
    int32_t n_tokens;
    llama_token * token;
    float * embd;
    llama_pos * pos;
    int32_t * n_seq_id;
    llama_seq_id ** seq_id;
    int8_t * logits;
};

struct llama_model_params {
    void ** devices;
    const void * tensor_buft_overrides;
    int32_t n_gpu_layers;
    int split_mode;
    int load_mode;
    int lazy_mode;
    int32_t main_gpu;
    const float * tensor_split;
    progress_callback progress;
    void * progress_user_data;
    const void * kv_overrides;
    bool vocab_only;
    bool check_tensors;
    bool use_extra_bufts;
    bool no_host;
    bool no_alloc;
    bool load_mtp;
};

struct llama_context_params {
    uint32_t n_ctx;
    uint32_t n_batch;
    uint32_t n_ubatch;
    uint32_t n_seq_max;
    uint32_t n_rs_seq;
    uint32_t n_outputs_max;
    uint32_t n_outputs_max_per_seq;
    int32_t n_threads;
    int32_t n_threads_batch;
    int ctx_type;
    int rope_scaling_type;
    int pooling_type;
    int attention_type;
    int flash_attn_type;
    float rope_freq_base;
    float rope_freq_scale;
    float yarn_ext_factor;
    float yarn_attn_factor;
    float yarn_beta_fast;
    float yarn_beta_slow;
    uint32_t yarn_orig_ctx;
    float defrag_thold;
    void * cb_eval;
    void * cb_eval_user_data;
    int type_k;
    int type_v;
    size_t moe_cache_size;
    void * abort_callback;
    void * abort_callback_data;
    bool embeddings;
    bool offload_kqv;
    bool no_perf;
    bool op_offload;
    bool swa_full;
    bool kv_unified;
    void * samplers;
    size_t n_samplers;
    struct llama_context * ctx_other;
};

struct llama_model_params llama_model_default_params(void);
struct llama_context_params llama_context_default_params(void);
void llama_backend_init(void);
void llama_log_set(log_callback callback, void * user_data);
const char * llama_print_system_info(void);

struct llama_model * llama_model_load_from_file(const char * path, struct llama_model_params params);
void llama_model_free(struct llama_model * model);
struct llama_context * llama_init_from_model(struct llama_model * model, struct llama_context_params params);
void llama_free(struct llama_context * ctx);

const struct llama_vocab * llama_model_get_vocab(const struct llama_model * model);
struct llama_memory_i * llama_get_memory(const struct llama_context * ctx);
int32_t llama_model_n_ctx_train(const struct llama_model * model);
bool llama_model_is_recurrent(const struct llama_model * model);
bool llama_model_is_hybrid(const struct llama_model * model);
int32_t llama_model_n_swa(const struct llama_model * model);
bool llama_model_has_encoder(const struct llama_model * model);
int32_t llama_model_meta_val_str(const struct llama_model * model, const char * key, char * buf, size_t size);
const char * llama_model_chat_template(const struct llama_model * model, const char * name);
uint32_t llama_n_ctx(const struct llama_context * ctx);

int32_t llama_vocab_n_tokens(const struct llama_vocab * vocab);
const char * llama_vocab_get_text(const struct llama_vocab * vocab, llama_token token);
int llama_vocab_get_attr(const struct llama_vocab * vocab, llama_token token);
bool llama_vocab_is_eog(const struct llama_vocab * vocab, llama_token token);
bool llama_vocab_is_control(const struct llama_vocab * vocab, llama_token token);
llama_token llama_vocab_bos(const struct llama_vocab * vocab);
llama_token llama_vocab_eos(const struct llama_vocab * vocab);
int32_t llama_tokenize(const struct llama_vocab * vocab, const char * text, int32_t text_len,
                       llama_token * tokens, int32_t n_tokens_max, bool add_special, bool parse_special);
int32_t llama_token_to_piece(const struct llama_vocab * vocab, llama_token token, char * buf,
                             int32_t length, int32_t lstrip, bool special);

int32_t llama_decode(struct llama_context * ctx, struct llama_batch batch);
float * llama_get_logits_ith(struct llama_context * ctx, int32_t i);

bool llama_memory_seq_rm(struct llama_memory_i * mem, llama_seq_id seq, llama_pos p0, llama_pos p1);
void llama_memory_seq_cp(struct llama_memory_i * mem, llama_seq_id src, llama_seq_id dst, llama_pos p0, llama_pos p1);

size_t llama_state_seq_get_size(struct llama_context * ctx, llama_seq_id seq);
size_t llama_state_seq_get_data(struct llama_context * ctx, uint8_t * dst, size_t size, llama_seq_id seq);
size_t llama_state_seq_set_data(struct llama_context * ctx, const uint8_t * src, size_t size, llama_seq_id seq);
"""

# Pictures: batches in which rows of embeddings stand beside tokens, and the encoder of pictures.
_CDEF_PICTURES = """
struct llama_batch_ext;
struct llama_embd {
    const float * data;
    size_t n_rows;
    size_t n_embd;
};
int32_t llama_model_n_embd_inp(const struct llama_model * model);
struct llama_batch_ext * llama_batch_ext_init(struct llama_context * ctx);
void llama_batch_ext_free(struct llama_batch_ext * batch);
void llama_batch_ext_clear(struct llama_batch_ext * batch);
int32_t llama_batch_ext_add_token(struct llama_batch_ext * batch, llama_seq_id seq, llama_token id);
int32_t llama_batch_ext_add_embd(struct llama_batch_ext * batch, llama_seq_id seq, struct llama_embd embd);
bool llama_batch_ext_set_pos(struct llama_batch_ext * batch, int32_t idx, const llama_pos * pos);
bool llama_batch_ext_set_output_logits(struct llama_batch_ext * batch, int32_t idx, bool value);
int32_t llama_process(struct llama_context * ctx, int type, struct llama_batch_ext * batch);

struct mtmd_context;
struct mtmd_bitmap;
struct mtmd_image_tokens;
struct mtmd_input_chunk;
struct mtmd_input_chunks;
struct mtmd_input_part {
    const void * text;
    const struct mtmd_bitmap * bitmap;
};
struct mtmd_context_params {
    bool use_gpu;
    void * device;
    bool print_timings;
    int n_threads;
    const char * image_marker;
    const char * media_marker;
    int flash_attn_type;
    bool warmup;
    int image_min_tokens;
    int image_max_tokens;
    void * cb_eval;
    void * cb_eval_user_data;
    int32_t batch_max_tokens;
    void * progress_callback;
    void * progress_callback_user_data;
};
struct mtmd_context_params mtmd_context_params_default(void);
void mtmd_log_set(log_callback callback, void * user_data);
struct mtmd_context * mtmd_init_from_file(const char * path, const struct llama_model * model,
                                          const struct mtmd_context_params params);
void mtmd_free(struct mtmd_context * ctx);
bool mtmd_decode_use_non_causal(const struct mtmd_context * ctx, const struct mtmd_input_chunk * chunk);
bool mtmd_decode_use_mrope(const struct mtmd_context * ctx);
bool mtmd_support_vision(const struct mtmd_context * ctx);
struct mtmd_bitmap * mtmd_bitmap_init(uint32_t nx, uint32_t ny, const unsigned char * data);
void mtmd_bitmap_free(struct mtmd_bitmap * bitmap);
void mtmd_bitmap_set_mergeable(struct mtmd_bitmap * bitmap, bool mergeable);
struct mtmd_input_chunks * mtmd_input_chunks_init(void);
size_t mtmd_input_chunks_size(const struct mtmd_input_chunks * chunks);
const struct mtmd_input_chunk * mtmd_input_chunks_get(const struct mtmd_input_chunks * chunks, size_t idx);
void mtmd_input_chunks_free(struct mtmd_input_chunks * chunks);
int mtmd_input_chunk_get_type(const struct mtmd_input_chunk * chunk);
const struct mtmd_image_tokens * mtmd_input_chunk_get_tokens_image(const struct mtmd_input_chunk * chunk);
size_t mtmd_input_chunk_get_n_tokens(const struct mtmd_input_chunk * chunk);
size_t mtmd_image_tokens_get_nx(const struct mtmd_image_tokens * image_tokens);
int32_t mtmd_tokenize_from_parts(const struct mtmd_context * ctx, struct mtmd_input_chunks * output,
                                 const struct mtmd_input_part * const * parts, size_t n_parts, bool add_special);
int32_t mtmd_encode_chunk(struct mtmd_context * ctx, const struct mtmd_input_chunk * chunk);
float * mtmd_get_output_embd(struct mtmd_context * ctx);

struct gguf_context;
struct gguf_init_params {
    bool no_alloc;
    void ** ctx;
};
struct gguf_context * gguf_init_from_file(const char * path, struct gguf_init_params params);
void gguf_free(struct gguf_context * ctx);
int64_t gguf_find_key(const struct gguf_context * ctx, const char * key);
int gguf_get_kv_type(const struct gguf_context * ctx, int64_t key_id);
const char * gguf_get_val_str(const struct gguf_context * ctx, int64_t key_id);
"""

# What the pinned release answers, field by field; spread over the whole struct so that a field
# added, dropped or widened anywhere moves at least one of them.
_MODEL_DEFAULTS = {
    "n_gpu_layers": -1,
    "split_mode": 1,
    "main_gpu": 0,
    "vocab_only": False,
    "use_extra_bufts": True,
    "no_alloc": False,
}
_CONTEXT_DEFAULTS = {
    "n_ctx": 512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "n_seq_max": 1,
    "rope_scaling_type": -1,
    "pooling_type": -1,
    "attention_type": -1,
    "flash_attn_type": -1,
    "yarn_ext_factor": -1.0,
    "defrag_thold": -1.0,
    "type_k": 1,
    "type_v": 1,
    "embeddings": False,
    "offload_kqv": True,
    "op_offload": True,
    "swa_full": True,
}
_PICTURE_DEFAULTS = {
    "use_gpu": True,
    "print_timings": True,
    "n_threads": 4,
    "flash_attn_type": -1,
    "warmup": True,
    "image_min_tokens": -1,
    "image_max_tokens": -1,
    "batch_max_tokens": 1024,
}


class LibraryError(Exception):
    """The library cannot be used; the text says why and what to do."""


def library_path() -> Path:
    """The wheel's shared object.  Raises LibraryError when the package is absent or of another release."""
    spec = importlib.util.find_spec("xllamacpp")
    if spec is None or not spec.submodule_search_locations:
        raise LibraryError(f"xllamacpp is not installed; install xllamacpp=={PINNED}")
    found = importlib.metadata.version("xllamacpp")
    if found != PINNED:
        raise LibraryError(f"xllamacpp {found} is installed, this version of Segue needs exactly {PINNED}")
    for path in Path(spec.submodule_search_locations[0]).glob("xllamacpp*.so"):
        return path
    raise LibraryError("xllamacpp is installed without its shared object; on Windows use WSL or a remote engine")


def open_library() -> tuple[Any, Any]:
    """Open the shared object and check its layout.  Returns (ffi, lib).  Raises LibraryError."""
    path = library_path()
    ffi = cffi.FFI()
    ffi.cdef(_CDEF)
    ffi.cdef(_CDEF_PICTURES)
    try:
        lib: Any = ffi.dlopen(str(path))
    except OSError as error:
        if "libgomp" in str(error) or ctypes.util.find_library("gomp") is None:
            raise LibraryError(
                "llama.cpp needs the system's libgomp.so.1 (Debian: apt-get install libgomp1)"
            ) from error
        raise LibraryError(f"llama.cpp cannot be loaded: {error}") from error
    _check(lib.llama_model_default_params(), _MODEL_DEFAULTS, "model")
    _check(lib.llama_context_default_params(), _CONTEXT_DEFAULTS, "context")
    _check(lib.mtmd_context_params_default(), _PICTURE_DEFAULTS, "picture")
    return ffi, lib


def _check(params: Any, known: Mapping[str, object], what: str) -> None:
    wrong = [f"{name}={getattr(params, name)!r}" for name, value in known.items() if getattr(params, name) != value]
    if wrong:
        raise LibraryError(
            f"llama.cpp's {what} parameters are not laid out as in release {PINNED} ({', '.join(wrong)}); "
            f"install xllamacpp=={PINNED}"
        )
