// The one C++ file: parquet and arrow files as checked record batches. It becomes a module of its own, so
// that neither the build nor the start of the program depends on Arrow. No exception leaves it.
#include "src/data/arrow_module.h"

#include <arrow/c/bridge.h>
#include <arrow/io/file.h>
#include <arrow/ipc/reader.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <parquet/arrow/reader.h>
#include <parquet/properties.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <utility>

namespace
{

constexpr int64_t kRows = 256;                     // of a parquet batch
constexpr int64_t kColumnBytes = int64_t{1} << 20; // read ahead of each parquet column
constexpr int64_t kMaxBytes =
    int64_t{4} << 30; // of all buffers together: a damaged file must not ask for more

// All buffers. It is never freed: a reader's last reference may be dropped by one of Arrow's own threads
// after the file was closed here.
arrow::MemoryPool *buffers()
{
    static auto *const pool = new arrow::CappedMemoryPool(arrow::default_memory_pool(), kMaxBytes);
    return pool;
}

} // namespace

struct axl_arrow_file {
    std::shared_ptr<arrow::io::RandomAccessFile> input;
    std::unique_ptr<parquet::arrow::FileReader> parquet;
    std::shared_ptr<arrow::ipc::RecordBatchFileReader> file; // the arrow file format
    int next_in_file = 0;
    std::shared_ptr<arrow::RecordBatchReader> batches; // parquet, and the arrow stream format
    std::shared_ptr<arrow::Schema> schema;
};

namespace
{

arrow::ipc::IpcReadOptions ipc_options()
{
    auto options = arrow::ipc::IpcReadOptions::Defaults();
    options.memory_pool = buffers();
    options.use_threads = false;
    return options;
}

arrow::Status open_parquet(axl_arrow_file *f)
{
    parquet::ReaderProperties read(buffers());
    parquet::ArrowReaderProperties make(false);
    parquet::arrow::FileReaderBuilder builder;

    read.enable_buffered_stream(); // a column of a row group is not read whole
    read.set_buffer_size(kColumnBytes);
    make.set_batch_size(kRows);
    make.set_pre_buffer(false);
    ARROW_RETURN_NOT_OK(builder.Open(f->input, read));
    builder.properties(make);
    builder.memory_pool(buffers());
    ARROW_RETURN_NOT_OK(builder.Build(&f->parquet));
    ARROW_ASSIGN_OR_RAISE(f->batches, f->parquet->GetRecordBatchReader());
    f->schema = f->batches->schema();
    return arrow::Status::OK();
}

arrow::Status open_any(const char *path, axl_arrow_file *f)
{
    char magic[6] = "";

    ARROW_ASSIGN_OR_RAISE(f->input, arrow::io::ReadableFile::Open(path, buffers()));
    ARROW_ASSIGN_OR_RAISE(int64_t n, f->input->ReadAt(0, sizeof magic, magic));
    if (n >= 4 && std::memcmp(magic, "PAR1", 4) == 0)
        return open_parquet(f);
    // Batches stay in the mapped file: an uncompressed one takes no memory, however large it is.
    ARROW_ASSIGN_OR_RAISE(f->input,
                          arrow::io::MemoryMappedFile::Open(path, arrow::io::FileMode::READ));
    if (n == 6 && std::memcmp(magic, "ARROW1", 6) == 0) {
        ARROW_ASSIGN_OR_RAISE(f->file,
                              arrow::ipc::RecordBatchFileReader::Open(f->input, ipc_options()));
        f->schema = f->file->schema();
        return arrow::Status::OK();
    }
    ARROW_ASSIGN_OR_RAISE(f->batches,
                          arrow::ipc::RecordBatchStreamReader::Open(f->input, ipc_options()));
    f->schema = f->batches->schema();
    return arrow::Status::OK();
}

arrow::Status next_batch(axl_arrow_file *f, struct ArrowArray *out)
{
    std::shared_ptr<arrow::RecordBatch> batch;

    if (f->file != nullptr && f->next_in_file < f->file->num_record_batches()) {
        ARROW_ASSIGN_OR_RAISE(batch, f->file->ReadRecordBatch(f->next_in_file++));
    } else if (f->batches != nullptr) {
        ARROW_RETURN_NOT_OK(f->batches->ReadNext(&batch));
    }
    out->release = nullptr;
    if (batch == nullptr)
        return arrow::Status::OK();
    ARROW_RETURN_NOT_OK(batch->ValidateFull());
    return arrow::ExportRecordBatch(*batch, out);
}

// Runs an action that returns a status; its message, or that of an exception, goes to error.
template <typename Action> int guarded(char *error, size_t n_error, Action action)
{
    std::string message;

    try {
        arrow::Status status = action();
        if (status.ok())
            return 0;
        message = status.message();
    } catch (const std::exception &e) {
        message = e.what();
    } catch (...) {
        message = "an unknown exception";
    }
    (void)std::snprintf(error, n_error, "%s", message.c_str());
    return 1;
}

int module_open(const char *path, axl_arrow_file **out, char *error, size_t n_error)
{
    return guarded(error, n_error, [&] {
        auto f = std::make_unique<axl_arrow_file>();
        ARROW_RETURN_NOT_OK(open_any(path, f.get()));
        *out = f.release();
        return arrow::Status::OK();
    });
}

int module_schema(axl_arrow_file *f, struct ArrowSchema *out, char *error, size_t n_error)
{
    return guarded(error, n_error, [&] { return arrow::ExportSchema(*f->schema, out); });
}

int module_next(axl_arrow_file *f, struct ArrowArray *out, char *error, size_t n_error)
{
    return guarded(error, n_error, [&] { return next_batch(f, out); });
}

void module_close(axl_arrow_file *f)
{
    char ignored[1];

    (void)guarded(ignored, sizeof ignored, [&] {
        delete f;
        return arrow::Status::OK();
    });
}

} // namespace

extern "C" __attribute__((visibility("default"))) const axl_arrow_module axl_arrow_module_table;
extern "C" const axl_arrow_module axl_arrow_module_table = {
    AXL_ARROW_VERSION, module_open, module_schema, module_next, module_close};
