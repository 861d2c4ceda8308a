// What a plugin gave for an output, whatever it is: seen as memory with a datatype, a shape and strides.
#include "shim.h"

// INVALID: no datatype of Triton's, or one that the package's coerce() must translate first.
static TRITONSERVER_DataType format_datatype(const char* format, Py_ssize_t itemsize)
{
  if (format == NULL) return TRITONSERVER_TYPE_UINT8;
  if (*format == '@' || *format == '=' || *format == '<') format++;
  if (format[0] == 0 || format[1] != 0) return TRITONSERVER_TYPE_INVALID;
  int log = itemsize == 1 ? 0 : itemsize == 2 ? 1 : itemsize == 4 ? 2 : 3;
  switch (*format) {
    case '?': return TRITONSERVER_TYPE_BOOL;
    case 'b': case 'h': case 'i': case 'l': case 'q': case 'n': return TRITONSERVER_TYPE_INT8 + log;
    case 'B': case 'H': case 'I': case 'L': case 'Q': case 'N': return TRITONSERVER_TYPE_UINT8 + log;
    case 'e': return TRITONSERVER_TYPE_FP16;
    case 'f': return TRITONSERVER_TYPE_FP32;
    case 'd': return TRITONSERVER_TYPE_FP64;
    case 'O': return TRITONSERVER_TYPE_BYTES;
    default: return TRITONSERVER_TYPE_INVALID;
  }
}

static void compact_strides(tb_source* source)
{
  int64_t stride = source->itemsize;
  for (uint32_t i = source->ndim; i-- > 0; stride *= source->shape[i]) source->strides[i] = stride;
}

static void from_tensor(tb_source* source, const tb_tensor* tensor)
{
  const tb_view* view = &tensor->view;
  source->data = view->data;
  source->dtype = view->dtype;
  source->ndim = view->ndim;
  source->itemsize = tb_itemsize(view->dtype);
  source->memory_type = view->memory_type;
  source->memory_type_id = view->memory_type_id;
  memcpy(source->shape, view->shape, view->ndim * sizeof *view->shape);
  compact_strides(source);
}

// 1: it has a buffer of a datatype of Triton's; 0: it has not; -1: a Python error
static int from_buffer(tb_source* source, PyObject* value)
{
  if (!PyObject_CheckBuffer(value)) return 0;
  Py_buffer* buffer = &source->buffer;
  if (PyObject_GetBuffer(value, buffer, PyBUF_RECORDS_RO) != 0) {
    if (PyMemoryView_Check(value) || !(PyErr_ExceptionMatches(PyExc_ValueError) || PyErr_ExceptionMatches(PyExc_BufferError))) return -1;
    PyErr_Clear();  // such as NumPy's bfloat16, which has no format character
    return 0;
  }
  source->dtype = format_datatype(buffer->format, buffer->itemsize);
  // NumPy's datetime64 scalar is bytes without strides, though they were asked for.
  bool complete = buffer->ndim == 0 || (buffer->shape != NULL && buffer->strides != NULL);
  if (!complete || source->dtype == TRITONSERVER_TYPE_INVALID || buffer->ndim > PyBUF_MAX_NDIM) {
    PyBuffer_Release(buffer);
    return 0;
  }
  source->objects = source->dtype == TRITONSERVER_TYPE_BYTES;
  source->data = buffer->buf;
  source->ndim = (uint32_t)buffer->ndim;
  source->itemsize = (uint32_t)buffer->itemsize;
  for (int i = 0; i < buffer->ndim; i++) {
    source->shape[i] = buffer->shape[i];
    source->strides[i] = buffer->strides[i];
  }
  return 1;
}

bool tb_source_is_compact(const tb_source* source)
{
  int64_t stride = source->itemsize;
  for (uint32_t i = source->ndim; i-- > 0; stride *= source->shape[i])
    if (source->shape[i] != 1 && source->strides[i] != stride) return tb_elements(source->shape, source->ndim) == 0;
  return true;
}

// Whatever has no plain buffer goes through the package's Python: lists, 'S' and 'U' arrays, bfloat16, big-endian.
static bool from_coerced(tb_source* source, PyObject* value)
{
  PyObject* pair = PyObject_CallOneArg(tb_py.coerce, value);
  if (pair == NULL) return false;
  PyObject *array, *dtype;
  bool made = PyArg_ParseTuple(pair, "OO", &array, &dtype) && from_buffer(source, array) == 1;
  for (int i = 1; made && i < TB_DTYPES; i++)
    if (tb_py.datatypes[i] == dtype) source->dtype = i;
  source->holder = pair;
  if (!made && !PyErr_Occurred()) tb_raise(tb_py.internal_error, "it is a %s, which has no datatype of Triton's", Py_TYPE(value)->tp_name);
  return made;
}

bool tb_source_open(tb_source* source, PyObject* value)
{
  source->objects = false;
  source->memory_type = TRITONSERVER_MEMORY_CPU;
  source->memory_type_id = 0;
  source->holder = NULL;
  source->buffer.obj = NULL;
  if (Py_TYPE(value) == tb_tensor_type) return from_tensor(source, (tb_tensor*)value), true;
  int found = tb_numpy_source(source, value) ? 1 : from_buffer(source, value);
  if (found == 1 && source->objects && !tb_source_is_compact(source)) {
    tb_source_close(source);
    found = 0;
  }
  if (found != 0) return found == 1;
  if (PyObject_CheckBuffer(value) || PyList_Check(value) || PyTuple_Check(value)) return from_coerced(source, value);
  return tb_dlpack_import(source, value);
}

void tb_source_close(tb_source* source)
{
  if (source->buffer.obj != NULL) PyBuffer_Release(&source->buffer);
  Py_CLEAR(source->holder);
}
