"""A server as in the first page of aiohttp's documentation."""

from aiohttp import web


async def answer(request):
    return web.Response(text="A short answer.\n")


app = web.Application()
app.add_routes([web.get("/", answer)])
web.run_app(app, host="127.0.0.1", port=8080, access_log=None)
